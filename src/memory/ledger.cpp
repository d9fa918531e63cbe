#include "lowmem/memory/ledger.h"

#include <algorithm>

#include "cpu_ledger.h"
#include "lowmem/memory/gpu.h"
#include "lowmem/memory/rehearsal.h"

namespace lowmem::memory {
namespace {

void raise(std::atomic<int64_t>& peak, int64_t value) {
  int64_t seen = peak.load(std::memory_order_relaxed);
  while (seen < value &&
         !peak.compare_exchange_weak(seen, value, std::memory_order_relaxed)) {
  }
}

// Of the CPU's tensors, and of a GPU's: the one that is computed with there, and in a
// rehearsal of one.
Ledger g_cpu, g_gpu;
bool g_on_gpu = false;
bool g_on_host = false;

}  // namespace

void Ledger::add(int64_t bytes, Item item) {
  const int64_t now = current_.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  if (bytes > 0) raise_all(now);
  if (!rehearsing()) return;
  const std::scoped_lock lock(items_mutex_);
  items_[static_cast<size_t>(item)] += bytes;
  if (bytes > 0 && current_ > peak_of_items_) {
    peak_of_items_ = current_;
    items_at_peak_ = items_;
  }
}

void Ledger::raise_all(int64_t value) {
  raise(phase_peak_, value);
  raise(interval_peak_, value);
  raise(peak_, value);
}

int64_t Ledger::current() const {
  return gpu_.is_cpu() ? current_.load() : gpu_memory(gpu_).current;
}

void Ledger::ask_gpu() {
  if (gpu_.is_cpu()) return;
  const GpuMemory found = gpu_memory(gpu_);
  reset_gpu_peak(gpu_);
  raise_all(found.peak);
}

int64_t Ledger::peak() {
  ask_gpu();
  return peak_;
}

void Ledger::record(Phase phase) {
  ask_gpu();
  if (phase == Phase::kNone) return;
  int64_t& recorded = by_phase_[static_cast<size_t>(phase)];
  recorded = std::max(recorded, phase_peak_.load());
}

PhaseBytes Ledger::by_phase() {
  record(current_phase());
  return by_phase_;
}

int64_t Ledger::take_peak() {
  ask_gpu();
  return interval_peak_.exchange(current());
}

void Ledger::reset_peaks() {
  if (!gpu_.is_cpu()) reset_gpu_peak(gpu_);
  by_phase_.fill(0);
  phase_peak_ = interval_peak_ = peak_ = current();
}

void Ledger::change_phase(Phase phase) {
  record(phase);
  phase_peak_ = current();
}

void Ledger::follow(c10::Device gpu) {
  gpu_ = gpu;
  g_on_gpu = !gpu.is_cpu();
  if (g_on_gpu) reset_gpu_peak(gpu);
}

void Ledger::put_back(const Peaks& peaks) {
  by_phase_ = peaks.by_phase;
  interval_peak_ = peaks.interval;
  peak_ = peaks.peak;
  phase_peak_ = current();
}

void Ledger::begin_items() {
  items_.fill(0);
  items_at_peak_.fill(0);
  peak_of_items_ = current_;
}

Ledger& device_ledger() {
  const bool on_gpu = rehearsing() ? rehearsed_gpu() != nullptr : g_on_gpu;
  return on_gpu ? g_gpu : g_cpu;
}

Ledger& host_ledger() { return g_cpu; }
std::array<Ledger*, 2> ledgers() { return {&g_cpu, &g_gpu}; }

Ledger& ledger_of_cpu_tensors() {
  return rehearsed_gpu() != nullptr && !g_on_host ? g_gpu : g_cpu;
}

Ledger& gpu_ledger() { return g_gpu; }

OnHost::OnHost() : outer_(g_on_host) { g_on_host = true; }
OnHost::~OnHost() { g_on_host = outer_; }

}  // namespace lowmem::memory
