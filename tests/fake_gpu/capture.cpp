// Graphs: work taken from captured streams, and put on a stream again at each launch.
//
// Of the rules of stream capture, it holds the program to those that a program can break
// by mistake. Two are stricter than CUDA's: while a thread captures, it must not use the
// legacy stream (CUDA allows that beside streams made with cudaStreamNonBlocking, but
// the work is then missing from the graph), and a graph must not copy from or to pageable
// memory (which is not the caller's for as long as the graph lives).
#include "fake_gpu/capture.h"

#include <set>
#include <thread>
#include <vector>

#include "fake_gpu/fake.h"

namespace lowmem::fake_gpu {

struct Graph {
  std::vector<Work> work;
};

struct Capture {
  unsigned long long id;
  cudaStreamCaptureMode mode;
  std::thread::id thread;
  Stream* origin;
  std::set<Stream*> streams;   // the origin, and those that joined
  std::set<Stream*> unjoined;  // of which the origin does not know yet
  Graph graph;
  bool is_valid = true;
};

namespace {

thread_local cudaStreamCaptureMode thread_mode = cudaStreamCaptureModeGlobal;

std::set<Capture*>& running() {
  static auto* all = new std::set<Capture*>;
  return *all;
}
bool is_own(const Capture& capture) {
  return capture.thread == std::this_thread::get_id();
}

// Whether this capture keeps this thread from unsafe calls.
bool forbids_unsafe(const Capture& capture) {
  if (thread_mode == cudaStreamCaptureModeRelaxed) return false;
  if (is_own(capture)) return capture.mode != cudaStreamCaptureModeRelaxed;
  return thread_mode == cudaStreamCaptureModeGlobal &&
         capture.mode == cudaStreamCaptureModeGlobal;
}

Graph& graph_of(cudaGraph_t graph) { return *reinterpret_cast<Graph*>(graph); }
Graph& graph_of(cudaGraphExec_t graph) { return *reinterpret_cast<Graph*>(graph); }

cudaError_t instantiate(cudaGraphExec_t* executable, cudaGraph_t graph) {
  FAKE_GPU_LOCK;
  *executable = reinterpret_cast<cudaGraphExec_t>(new Graph(graph_of(graph)));
  return cudaSuccess;
}

}  // namespace

CaptureMark CaptureMark::of(const Capture* capture) {
  CaptureMark mark;
  if (capture != nullptr) mark.id_ = capture->id;
  return mark;
}
Capture* CaptureMark::running() const {
  for (Capture* capture : fake_gpu::running())
    if (capture->id == id_) return capture;
  return nullptr;
}

Capture* capture_of(cudaStream_t stream) {
  for (Capture* capture : running())
    if (capture->streams.count(&stream_of(stream)) != 0) return capture;
  return nullptr;
}

void invalidate(Capture* capture) { capture->is_valid = false; }

cudaError_t join(Capture* capture, cudaStream_t stream) {
  capture->streams.insert(&stream_of(stream));
  capture->unjoined.insert(&stream_of(stream));
  return cudaSuccess;
}

void joined(Capture* capture, const Stream* stream) {
  capture->unjoined.erase(const_cast<Stream*>(stream));
}

bool taken_by_capture(const char* call, cudaStream_t stream, Work& work,
                      cudaError_t* status) {
  if (running().empty()) return false;
  if (Capture* capture = capture_of(stream)) {
    if (!capture->is_valid) {
      *status = refuse(call, cudaErrorStreamCaptureInvalidated, "the capture is broken");
    } else {
      if (capture->origin != &stream_of(stream))
        capture->unjoined.insert(&stream_of(stream));
      if (work.kind == Work::Kind::kCopy && work.name != "device_to_device")
        count_captured_host_copy();
      capture->graph.work.push_back(std::move(work));
    }
    return true;
  }
  for (Capture* capture : running()) {
    if (!is_own(*capture)) continue;
    if (&stream_of(stream) == &stream_of(nullptr)) {
      invalidate(capture);
      *status = refuse(call, cudaErrorStreamCaptureImplicit,
                       "the legacy stream is used while another stream is captured");
      return true;
    }
    count_beside_capture();
  }
  return false;
}

cudaError_t check_unsafe(const char* call) {
  for (Capture* capture : running()) {
    if (!forbids_unsafe(*capture)) continue;
    invalidate(capture);
    return refuse(call, cudaErrorStreamCaptureUnsupported,
                  "called while a stream is captured");
  }
  return cudaSuccess;
}

cudaError_t check_wait(const char* call, const Stream* stream) {
  for (Capture* capture : running()) {
    const bool captured =
        stream == nullptr || capture->streams.count(const_cast<Stream*>(stream)) != 0;
    if (!captured && !(is_own(*capture) && forbids_unsafe(*capture))) continue;
    invalidate(capture);
    return refuse(call, cudaErrorStreamCaptureUnsupported,
                  "the host waits while a stream is captured");
  }
  return cudaSuccess;
}

FAKE_GPU_API cudaError_t cudaStreamBeginCapture(cudaStream_t stream,
                                                cudaStreamCaptureMode mode) {
  FAKE_GPU_LOCK;
  trace("begin capture, stream %p, mode %d", static_cast<void*>(stream), mode);
  if (&stream_of(stream) == &stream_of(nullptr))
    return refuse("cudaStreamBeginCapture", cudaErrorStreamCaptureUnsupported,
                  "the legacy stream cannot be captured");
  if (capture_of(stream) != nullptr)
    return refuse("cudaStreamBeginCapture", cudaErrorIllegalState,
                  "the stream is being captured already");
  static unsigned long long id = 0;
  Stream* origin = &stream_of(stream);
  running().insert(
      new Capture{++id, mode, std::this_thread::get_id(), origin, {origin}, {}, {}});
  count_capture();
  return cudaSuccess;
}

FAKE_GPU_API cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  FAKE_GPU_LOCK;
  *graph = nullptr;
  Capture* capture = capture_of(stream);
  if (capture == nullptr || capture->origin != &stream_of(stream))
    return refuse("cudaStreamEndCapture", cudaErrorStreamCaptureUnmatched,
                  "no capture was begun on this stream");
  running().erase(capture);
  trace("end capture, %zu nodes, %s", capture->graph.work.size(),
        capture->is_valid ? "valid" : "broken");
  cudaError_t status = cudaSuccess;
  if (!capture->is_valid)
    status = fail(cudaErrorStreamCaptureInvalidated);
  else if (!capture->unjoined.empty())
    status = refuse("cudaStreamEndCapture", cudaErrorStreamCaptureUnjoined,
                    "a stream that joined the capture was not waited for");
  else
    *graph = reinterpret_cast<cudaGraph_t>(new Graph(std::move(capture->graph)));
  delete capture;
  return status;
}

FAKE_GPU_API cudaError_t cudaStreamIsCapturing(cudaStream_t stream,
                                               cudaStreamCaptureStatus* status) {
  return cudaStreamGetCaptureInfo(stream, status, nullptr, nullptr, nullptr, nullptr,
                                  nullptr);
}
FAKE_GPU_API cudaError_t cudaStreamGetCaptureInfo(
    cudaStream_t stream, cudaStreamCaptureStatus* status, unsigned long long* id,
    cudaGraph_t* graph, const cudaGraphNode_t** dependencies,
    const cudaGraphEdgeData** edges, size_t* count) {
  FAKE_GPU_LOCK;
  const Capture* capture = capture_of(stream);
  *status = capture == nullptr  ? cudaStreamCaptureStatusNone
            : capture->is_valid ? cudaStreamCaptureStatusActive
                                : cudaStreamCaptureStatusInvalidated;
  if (id != nullptr) *id = capture == nullptr ? 0 : capture->id;
  if (graph != nullptr) *graph = nullptr;
  if (dependencies != nullptr) *dependencies = nullptr;
  if (edges != nullptr) *edges = nullptr;
  if (count != nullptr) *count = 0;
  return cudaSuccess;
}

FAKE_GPU_API cudaError_t
cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  std::swap(*mode, thread_mode);
  return cudaSuccess;
}

FAKE_GPU_API cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable,
                                              cudaGraph_t graph, unsigned long long) {
  return instantiate(executable, graph);
}
FAKE_GPU_API cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* executable,
                                                       cudaGraph_t graph,
                                                       unsigned long long) {
  return instantiate(executable, graph);
}
FAKE_GPU_API cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) {
  return cudaSuccess;
}
FAKE_GPU_API cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes,
                                           size_t* count) {
  if (nodes != nullptr)
    return refuse("cudaGraphGetNodes", cudaErrorNotSupported, "nodes have no handles");
  *count = graph_of(graph).work.size();
  return cudaSuccess;
}
FAKE_GPU_API cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  FAKE_GPU_LOCK;
  delete &graph_of(graph);
  return cudaSuccess;
}
FAKE_GPU_API cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  FAKE_GPU_LOCK;
  delete &graph_of(executable);
  return cudaSuccess;
}

FAKE_GPU_API cudaError_t cudaGraphLaunch(cudaGraphExec_t executable,
                                         cudaStream_t stream) {
  FAKE_GPU_LOCK;
  const Graph& graph = graph_of(executable);
  trace("graph launch, %zu nodes, stream %p", graph.work.size(),
        static_cast<void*>(stream));
  count_graph_launch(graph.work.size());
  for (const Work& work : graph.work)
    if (const cudaError_t status = put("cudaGraphLaunch", stream, work)) return status;
  return cudaSuccess;
}

}  // namespace lowmem::fake_gpu
