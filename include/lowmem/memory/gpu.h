#pragma once

#include <c10/core/Device.h>

#include <cstdint>

namespace lowmem::memory {

// Of LibTorch's caching allocator: bytes that tensors hold, those of recorded graphs
// included.
struct GpuMemory {
  int64_t current = 0;
  int64_t peak = 0;  // since reset_gpu_peak()
};
GpuMemory gpu_memory(c10::Device device);
void reset_gpu_peak(c10::Device device);
// Gives what the allocator keeps for later back to the driver.
void return_free_gpu_memory(c10::Device device);

// Around the recording of a graph: what its tensors take belongs to the graphs from then
// on.
class GraphMemoryScope {
 public:
  explicit GraphMemoryScope(c10::Device device);
  void recorded();
  static void all_gone();  // no graph is left

 private:
  c10::Device device_;
  int64_t before_ = 0;
};

}  // namespace lowmem::memory
