#include <cuda_runtime_api.h>

#include <string>

#include "lowmem/core/error.h"
#include "lowmem/kernels/launch_graph.h"

namespace lowmem::kernels {
namespace {

void check(cudaError_t status, const char* what,
           const char* remedy = "Set memory.cuda_graphs = false") {
  if (status == cudaSuccess) return;
  cudaGetLastError();
  throw Error("the GPU", std::string(what) + " (" + cudaGetErrorString(status) + ")",
              remedy);
}

cudaStream_t stream_of(Stream stream) { return static_cast<cudaStream_t>(stream); }

}  // namespace

void LaunchGraph::begin(Stream stream) {
  check(cudaStreamBeginCapture(stream_of(stream), cudaStreamCaptureModeThreadLocal),
        "cannot record launches");
}

void LaunchGraph::cancel(Stream stream) {
  cudaGraph_t graph = nullptr;
  cudaStreamEndCapture(stream_of(stream), &graph);
  if (graph != nullptr) cudaGraphDestroy(graph);
  cudaGetLastError();
}

LaunchGraph::LaunchGraph(Stream stream) {
  cudaGraph_t graph = nullptr;
  check(cudaStreamEndCapture(stream_of(stream), &graph), "could not record launches");
  cudaGraphExec_t executable = nullptr;
  const cudaError_t made = cudaGraphInstantiate(&executable, graph, 0);
  cudaGraphDestroy(graph);
  check(made, "cannot replay launches");
  executable_ = executable;
}

// A graph that is still running is destroyed when it has ended.
LaunchGraph::~LaunchGraph() {
  cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(executable_));
}

void LaunchGraph::replay(Stream stream) const {
  check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(executable_), stream_of(stream)),
        "failed in a step", "Check it with nvidia-smi, or set memory.device = cpu");
}

}  // namespace lowmem::kernels
