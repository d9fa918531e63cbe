#include "lowmem/memory/rehearsal.h"

#include <algorithm>
#include <array>
#include <cassert>

#include "addresses.h"
#include "cpu_ledger.h"

namespace lowmem::memory {
namespace {

bool g_rehearsing = false;
std::optional<RehearsedGpu> g_gpu;

}  // namespace

bool rehearsing() { return g_rehearsing; }
const RehearsedGpu* rehearsed_gpu() { return g_gpu ? &*g_gpu : nullptr; }

struct Rehearsal::Before {
  std::array<Ledger::Peaks, 2> peaks;
  c10::Device gpu = gpu_ledger().gpu_;
  int64_t device = 0, host = 0;  // bytes that were there
};

Rehearsal::Rehearsal(const std::optional<RehearsedGpu>& gpu)
    : before_(std::make_unique<Before>()) {
  assert(!g_rehearsing);
  for (size_t i = 0; i < ledgers().size(); ++i) before_->peaks[i] = ledgers()[i]->peaks();
  gpu_ledger().gpu_ = c10::kCPU;
  g_rehearsing = true;
  g_gpu = gpu;
  for (Ledger* ledger : ledgers()) {
    ledger->reset_peaks();
    ledger->begin_items();
  }
  before_->device = device_ledger().current();
  before_->host = host_ledger().current();
}

Rehearsal::~Rehearsal() {
  assert(addresses().live_bytes() == 0);
  addresses().trim();
  g_rehearsing = false;
  g_gpu.reset();
  gpu_ledger().gpu_ = before_->gpu;
  for (size_t i = 0; i < ledgers().size(); ++i) ledgers()[i]->put_back(before_->peaks[i]);
}

int64_t Rehearsal::began_with() const { return before_->device; }

Rehearsed Rehearsal::peaks() const {
  Ledger& device = device_ledger();
  Rehearsed found{device.peak() - before_->device, device.by_phase(),
                  device.items_at_peak(), 0};
  for (int64_t& peak : found.by_phase)
    peak = std::max<int64_t>(0, peak - before_->device);
  if (g_gpu) found.host_peak = host_ledger().peak() - before_->host;
  return found;
}

}  // namespace lowmem::memory
