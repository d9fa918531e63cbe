#include "lowmem/ops/device_graph.h"

#include <c10/core/impl/VirtualGuardImpl.h>
#ifdef LOWMEM_WITH_CUDA
#include <c10/cuda/CUDACachingAllocator.h>
#endif

#include "lowmem/core/error.h"
#include "lowmem/kernels/launch_graph.h"
#include "lowmem/kernels/place.h"

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

// Far from the numbers that LibTorch gives its own graphs.
constexpr c10::MempoolId_t kPool{c10::CaptureId_t{1} << 40, 0};

kernels::Stream current_stream(c10::Device device) {
  const c10::impl::VirtualGuardImpl guard(device.type());
  return guard.getStreamNativeHandle(guard.getStream(device));
}

// The virtual class alone: LibTorch's CUDA library is opened at run time, not linked.
c10::cuda::CUDACachingAllocator::CUDAAllocator* allocator() {
  return static_cast<c10::cuda::CUDACachingAllocator::CUDAAllocator*>(
      c10::GetAllocator(c10::kCUDA));
}

// Memory asked for on the stream comes from the graphs' pool while one of these lives,
// and the pool is held as long as one that was kept.
class PoolScope {
 public:
  PoolScope(c10::Device device, kernels::Stream stream) : index_(device.index()) {
    allocator()->beginAllocateToPool(
        index_, kPool, [stream](cudaStream_t other) { return other == stream; });
  }
  ~PoolScope() {
    allocator()->endAllocateToPool(index_, kPool);
    if (!kept_) allocator()->releasePool(index_, kPool);
  }
  PoolScope(const PoolScope&) = delete;
  PoolScope& operator=(const PoolScope&) = delete;
  void keep() { kept_ = true; }

 private:
  c10::DeviceIndex index_;
  bool kept_ = false;
};

class Recorded final : public DeviceGraph {
 public:
  Recorded(c10::Device device, const std::function<void()>& work) : device_(device) {
    const kernels::Stream stream = current_stream(device);
    PoolScope pool(device, stream);
    kernels::LaunchGraph::begin(stream);
    try {
      work();
    } catch (...) {
      kernels::LaunchGraph::cancel(stream);
      throw;
    }
    graph_ = std::make_unique<kernels::LaunchGraph>(stream);
    pool.keep();
  }
  ~Recorded() override {
    const c10::impl::VirtualGuardImpl guard(device_.type());
    guard.synchronizeStream(guard.getStream(device_));
    graph_.reset();
    allocator()->releasePool(device_.index(), kPool);
  }
  void replay() override { graph_->replay(current_stream(device_)); }

 private:
  c10::Device device_;
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
