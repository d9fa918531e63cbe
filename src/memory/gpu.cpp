#include "lowmem/memory/gpu.h"

#include <c10/core/CachingDeviceAllocator.h>

#include <algorithm>

namespace lowmem::memory {
namespace {

c10::CachingDeviceAllocator::DeviceStats stats_of(c10::Device device) {
  return c10::getDeviceAllocator(device.type())->getDeviceStats(device.index());
}
constexpr auto kAll = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);

// What the tensors of recorded graphs take while they are replayed, which the allocator
// counts as free: the most of any graph, since they share it. And the highest count while
// one was recorded, when the allocator sees them.
int64_t g_graph_bytes = 0;
int64_t g_recording_peak = 0;

}  // namespace

GpuMemory gpu_memory(c10::Device device) {
  const auto bytes = stats_of(device).allocated_bytes[kAll];
  return {bytes.current + g_graph_bytes,
          std::max(bytes.peak + g_graph_bytes, g_recording_peak)};
}

void reset_gpu_peak(c10::Device device) {
  c10::getDeviceAllocator(device.type())->resetPeakStats(device.index());
  g_recording_peak = 0;
}

GraphMemoryScope::GraphMemoryScope(c10::Device device) : device_(device) {
  const auto stats = stats_of(device);
  before_ = stats.allocated_bytes[kAll].current;
  g_recording_peak =
      std::max(g_recording_peak, stats.allocated_bytes[kAll].peak + g_graph_bytes);
  c10::getDeviceAllocator(device.type())->resetPeakStats(device.index());
}

void GraphMemoryScope::recorded() {
  const int64_t peak = stats_of(device_).allocated_bytes[kAll].peak;
  g_recording_peak = std::max(g_recording_peak, peak);
  g_graph_bytes = std::max(g_graph_bytes, peak - before_);
  c10::getDeviceAllocator(device_.type())->resetPeakStats(device_.index());
}

void GraphMemoryScope::all_gone() { g_graph_bytes = 0; }

void return_free_gpu_memory(c10::Device device) {
  c10::getDeviceAllocator(device.type())->emptyCache();
}

}  // namespace lowmem::memory
