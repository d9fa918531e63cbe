// Streams and events.
//
// Everything put on a stream has a position. A stream's work up to a position is done
// when the host waits for that position; copies and fills are then carried out in order,
// kernels are skipped. Waiting between streams is work too: it lets the other stream get
// as far first.
#include <chrono>
#include <deque>
#include <vector>

#include "fake_gpu/capture.h"
#include "fake_gpu/fake.h"

namespace lowmem::fake_gpu {

struct Stream {
  uint64_t put = 0, done = 0;  // positions
  std::deque<std::pair<uint64_t, std::function<void()>>> pending;

  void run_until(uint64_t position) {
    while (!pending.empty() && pending.front().first <= position) {
      const auto run = std::move(pending.front().second);
      pending.pop_front();
      run();
    }
    done = std::max(done, position);
  }
};

namespace {

using Clock = std::chrono::steady_clock;

struct Event {
  Stream* stream = nullptr;  // null: never recorded
  uint64_t position = 0;
  bool timed = true;
  Clock::time_point time;
  CaptureMark captured;  // by which capture it was recorded, if by one
};
Event& event_of(cudaEvent_t handle) { return *reinterpret_cast<Event*>(handle); }

std::vector<Stream*>& streams() {
  static auto* all = new std::vector<Stream*>;
  return *all;
}

cudaError_t refuse_captured(const char* call, const Event& event) {
  if (Capture* capture = event.captured.running()) invalidate(capture);
  return refuse(call, cudaErrorCapturedEvent, "the event was recorded in a capture");
}

cudaError_t create_event(cudaEvent_t* event, unsigned flags) {
  auto* made = new Event;
  made->timed = (flags & cudaEventDisableTiming) == 0;
  *event = reinterpret_cast<cudaEvent_t>(made);
  return cudaSuccess;
}

cudaError_t record(cudaEvent_t handle, cudaStream_t stream) {
  FAKE_GPU_LOCK;
  trace("event record, stream %p", static_cast<void*>(stream));
  Event& event = event_of(handle);
  event.captured = CaptureMark::of(capture_of(stream));
  Work nothing;
  cudaError_t status = cudaSuccess;
  if (!event.captured.exists()) status = put("cudaEventRecord", stream, nothing);
  event.stream = &stream_of(stream);
  event.position = event.stream->put;
  event.time = Clock::now();
  return status;
}

}  // namespace

Stream& stream_of(cudaStream_t handle) {
  static auto* legacy = [] {
    streams().push_back(new Stream);
    return streams().back();
  }();
  if (handle == nullptr || handle == cudaStreamLegacy || handle == cudaStreamPerThread)
    return *legacy;
  return *reinterpret_cast<Stream*>(handle);
}

cudaError_t put(const char* call, cudaStream_t handle, Work work) {
  FAKE_GPU_LOCK;
  cudaError_t status = cudaSuccess;
  if (taken_by_capture(call, handle, work, &status)) return status;
  count(work);
  Stream& stream = stream_of(handle);
  if (work.kind != Work::Kind::kOther && &stream == &stream_of(nullptr))
    count_legacy_stream();
  ++stream.put;
  if (work.run) stream.pending.emplace_back(stream.put, std::move(work.run));
  return cudaSuccess;
}

cudaError_t wait_for_stream(const char* call, cudaStream_t handle) {
  FAKE_GPU_LOCK;
  Stream& stream = stream_of(handle);
  if (const cudaError_t status = check_wait(call, &stream)) return status;
  count_host_wait(call);
  stream.run_until(stream.put);
  return cudaSuccess;
}

void finish_all() {
  for (Stream* stream : streams()) stream->run_until(stream->put);
}

cudaError_t wait_for_device(const char* call) {
  FAKE_GPU_LOCK;
  if (const cudaError_t status = check_wait(call, nullptr)) return status;
  count_host_wait(call);
  finish_all();
  return cudaSuccess;
}

FAKE_GPU_API cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned,
                                                      int) {
  FAKE_GPU_LOCK;
  streams().push_back(new Stream);
  *stream = reinterpret_cast<cudaStream_t>(streams().back());
  return cudaSuccess;
}
FAKE_GPU_API cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return cudaStreamCreateWithPriority(stream, flags, 0);
}
FAKE_GPU_API cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return cudaStreamCreateWithPriority(stream, 0, 0);
}
// Streams stay: events may still refer to them. Destroying one waits for nothing.
FAKE_GPU_API cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }
FAKE_GPU_API cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0;
  *greatest = -5;
  return cudaSuccess;
}

FAKE_GPU_API cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return wait_for_stream("cudaStreamSynchronize", stream);
}
FAKE_GPU_API cudaError_t cudaDeviceSynchronize() {
  return wait_for_device("cudaDeviceSynchronize");
}

// Not ready at the first question, done at the next: nobody asks for ever.
FAKE_GPU_API cudaError_t cudaStreamQuery(cudaStream_t handle) {
  FAKE_GPU_LOCK;
  if (const cudaError_t status = check_unsafe("cudaStreamQuery")) return status;
  Stream& stream = stream_of(handle);
  const bool ready = stream.done >= stream.put;
  stream.run_until(stream.put);
  return ready ? cudaSuccess : fail(cudaErrorNotReady);
}

FAKE_GPU_API cudaError_t cudaStreamAddCallback(cudaStream_t stream,
                                               cudaStreamCallback_t callback, void* data,
                                               unsigned) {
  Work work;
  work.run = [=] { callback(stream, cudaSuccess, data); };
  return put("cudaStreamAddCallback", stream, work);
}
FAKE_GPU_API cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function,
                                            void* data) {
  Work work;
  work.run = [=] { function(data); };
  return put("cudaLaunchHostFunc", stream, work);
}

FAKE_GPU_API cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  return create_event(event, flags);
}
FAKE_GPU_API cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return create_event(event, 0);
}
FAKE_GPU_API cudaError_t cudaEventDestroy(cudaEvent_t event) {
  FAKE_GPU_LOCK;
  delete &event_of(event);
  return cudaSuccess;
}
FAKE_GPU_API cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return record(event, stream);
}
FAKE_GPU_API cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream,
                                                  unsigned) {
  return record(event, stream);
}

FAKE_GPU_API cudaError_t cudaEventQuery(cudaEvent_t handle) {
  FAKE_GPU_LOCK;
  if (const cudaError_t status = check_unsafe("cudaEventQuery")) return status;
  const Event& event = event_of(handle);
  if (event.captured.exists()) return refuse_captured("cudaEventQuery", event);
  if (event.stream == nullptr) return cudaSuccess;
  const bool ready = event.stream->done >= event.position;
  event.stream->run_until(event.position);
  return ready ? cudaSuccess : fail(cudaErrorNotReady);
}

FAKE_GPU_API cudaError_t cudaEventSynchronize(cudaEvent_t handle) {
  FAKE_GPU_LOCK;
  const Event& event = event_of(handle);
  if (event.captured.exists()) return refuse_captured("cudaEventSynchronize", event);
  if (const cudaError_t status = check_wait("cudaEventSynchronize", event.stream))
    return status;
  count_host_wait("cudaEventSynchronize");
  if (event.stream != nullptr) event.stream->run_until(event.position);
  return cudaSuccess;
}

// Of the host's clock: when the events were recorded, as no work takes time here.
FAKE_GPU_API cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start,
                                              cudaEvent_t end) {
  FAKE_GPU_LOCK;
  const Event &from = event_of(start), &to = event_of(end);
  if (!from.timed || !to.timed || from.stream == nullptr || to.stream == nullptr)
    return refuse("cudaEventElapsedTime", cudaErrorInvalidResourceHandle,
                  "an event without time, or never recorded");
  if (to.stream->done < to.position) return fail(cudaErrorNotReady);
  *milliseconds = std::chrono::duration<float, std::milli>(to.time - from.time).count();
  return cudaSuccess;
}

FAKE_GPU_API cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t handle,
                                             unsigned flags) {
  FAKE_GPU_LOCK;
  trace("stream wait event, stream %p", static_cast<void*>(stream));
  const Event& event = event_of(handle);
  if (event.stream == nullptr) return cudaSuccess;
  Capture* own = capture_of(stream);
  if (event.captured.exists()) {
    Capture* other = event.captured.running();
    if (other == nullptr) return refuse_captured("cudaStreamWaitEvent", event);
    if (own == nullptr) return join(other, stream);
    if (own == other) {
      joined(own, event.stream);
      return cudaSuccess;
    }
    invalidate(own);
    invalidate(other);
    return refuse("cudaStreamWaitEvent", cudaErrorStreamCaptureMerge,
                  "the event is of another capture");
  }
  if (own != nullptr && (flags & cudaEventWaitExternal) == 0) {
    invalidate(own);
    return refuse("cudaStreamWaitEvent", cudaErrorStreamCaptureIsolation,
                  "a captured stream cannot wait for an event from before the capture");
  }
  Work work;
  work.run = [from = event.stream, position = event.position] {
    from->run_until(position);
  };
  return put("cudaStreamWaitEvent", stream, work);
}

}  // namespace lowmem::fake_gpu
