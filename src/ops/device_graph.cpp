#include "lowmem/ops/device_graph.h"

#include <c10/core/impl/VirtualGuardImpl.h>
#ifdef LOWMEM_WITH_CUDA
#include <c10/cuda/CUDACachingAllocator.h>
#endif

#include "lowmem/core/error.h"
#include "lowmem/kernels/launch_graph.h"
#include "lowmem/kernels/place.h"
#include "lowmem/memory/gpu.h"
#include "lowmem/ops/cuda.h"

namespace lowmem::ops {
namespace {

// Emulated kernels cannot be recorded: the work itself is done again, with all that it
// was given the first time.
class Again final : public DeviceGraph {
 public:
  explicit Again(std::function<void()> work) : work_(std::move(work)) {}
  void replay() override { work_(); }

 private:
  std::function<void()> work_;
};

#ifdef LOWMEM_WITH_CUDA

kernels::Stream current_stream(c10::Device device) {
  const c10::impl::VirtualGuardImpl guard(device.type());
  return guard.getStreamNativeHandle(guard.getStream(device));
}

// The virtual class alone: LibTorch's CUDA library is opened at run time, not linked.
c10::cuda::CUDACachingAllocator::CUDAAllocator* allocator() {
  return static_cast<c10::cuda::CUDACachingAllocator::CUDAAllocator*>(
      c10::GetAllocator(c10::kCUDA));
}

// The pool that all graphs share. The allocator takes a pool that nobody holds away for
// good, so a new one has a new number, far from those that LibTorch gives its own.
class Pool {
 public:
  c10::MempoolId_t take() {
    if (holders_++ == 0) ++generation_;
    return {(c10::CaptureId_t{1} << 40) + generation_, 0};
  }
  void give_back(c10::Device device, c10::MempoolId_t id) {
    if (--holders_ == 0) memory::GraphMemoryScope::all_gone();
    allocator()->releasePool(device.index(), id);
  }

 private:
  int64_t holders_ = 0;
  c10::CaptureId_t generation_ = 0;
};

Pool& pool() {
  static Pool all;
  return all;
}

// After a failure of the GPU everything fails: what is worth telling has been thrown.
template <class F>
void quietly(F&& f) {
  try {
    f();
  } catch (const std::exception&) {
    return;
  }
}

// Memory asked for on the stream comes from the pool while one of these lives, and the
// pool is held as long as a graph that kept it.
class PoolScope {
 public:
  PoolScope(c10::Device device, kernels::Stream stream)
      : device_(device), id_(pool().take()) {
    allocator()->beginAllocateToPool(
        device.index(), id_, [stream](cudaStream_t other) { return other == stream; });
  }
  ~PoolScope() {
    quietly([&] { allocator()->endAllocateToPool(device_.index(), id_); });
    if (!kept_) quietly([&] { pool().give_back(device_, id_); });
  }
  PoolScope(const PoolScope&) = delete;
  PoolScope& operator=(const PoolScope&) = delete;
  c10::MempoolId_t keep() {
    kept_ = true;
    return id_;
  }

 private:
  c10::Device device_;
  c10::MempoolId_t id_;
  bool kept_ = false;
};

class Recorded final : public DeviceGraph {
 public:
  Recorded(c10::Device device, const std::function<void()>& work) : device_(device) {
    const kernels::Stream stream = current_stream(device);
    // While launches are recorded the allocator cannot give back what it keeps.
    memory::return_free_gpu_memory(device);
    memory::GraphMemoryScope memory(device);
    PoolScope scope(device, stream);
    kernels::LaunchGraph::begin(stream);
    try {
      work();
    } catch (...) {
      kernels::LaunchGraph::cancel(stream);
      throw;
    }
    graph_ = std::make_unique<kernels::LaunchGraph>(stream);
    id_ = scope.keep();
    memory.recorded();
  }
  ~Recorded() override {
    quietly([&] {
      const c10::impl::VirtualGuardImpl guard(device_.type());
      guard.synchronizeStream(guard.getStream(device_));
    });
    graph_.reset();
    quietly([&] { pool().give_back(device_, id_); });
  }
  void replay() override { graph_->replay(current_stream(device_)); }

 private:
  c10::Device device_;
  c10::MempoolId_t id_;
  std::unique_ptr<kernels::LaunchGraph> graph_;
};

#endif

}  // namespace

std::unique_ptr<DeviceGraph> DeviceGraph::record(c10::Device device,
                                                 const std::function<void()>& work) {
  if (kernels::cuda::on_cpu()) return std::make_unique<Again>(work);
#ifdef LOWMEM_WITH_CUDA
  return std::make_unique<Recorded>(device, work);
#else
  throw Error("memory.cuda_graphs = true", "this lowmem-train was built for the CPU",
              "Set memory.cuda_graphs = false on " + device.str());
#endif
}

}  // namespace lowmem::ops
