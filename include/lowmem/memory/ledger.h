#pragma once

#include <c10/core/Device.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>

#include "lowmem/memory/scope.h"

namespace lowmem::memory {

// The bytes of tensors in one memory: now, at the most, and at the most in each phase. Of
// the CPU the allocator writes it; of a GPU it asks LibTorch's caching allocator.
// Thread-safe where said.
class Ledger {
 public:
  // Counts a tensor that came, or with a negative number one that went. Thread-safe: two
  // atomic additions; a lock more in a rehearsal.
  void add(int64_t bytes, Item item);

  int64_t current() const;
  int64_t peak();  // the highest current() ever
  // By phase, 0 where a phase did not occur. Index with static_cast<size_t>(Phase).
  PhaseBytes by_phase();
  int64_t take_peak();  // the highest since the last call
  // What a rehearsal's tensors were for at its peak.
  const ItemBytes& items_at_peak() const { return items_at_peak_; }

  // Forgets all peaks: the highest from now on.
  void reset_peaks();
  // Ends `phase`, of which the peak is kept, and begins another.
  void change_phase(Phase phase);
  // Counts what that GPU's allocator has from here on.
  void follow(c10::Device gpu);

 private:
  friend class Rehearsal;  // which puts back what was there before it

  struct Peaks {
    int64_t peak = 0, interval = 0;
    PhaseBytes by_phase{};
  };
  Peaks peaks() const { return {peak_, interval_peak_, by_phase_}; }
  void put_back(const Peaks& peaks);
  void begin_items();

  void ask_gpu();
  void record(Phase phase);
  void raise_all(int64_t value);

  c10::Device gpu_ = c10::kCPU;  // kCPU: not a GPU's
  std::atomic<int64_t> current_{0};
  std::atomic<int64_t> phase_peak_{0};     // since the phase began
  std::atomic<int64_t> interval_peak_{0};  // since take_peak()
  std::atomic<int64_t> peak_{0};
  PhaseBytes by_phase_{};

  std::mutex items_mutex_;
  ItemBytes items_{}, items_at_peak_{};
  int64_t peak_of_items_ = 0;
};

// The memory that is computed with, and the host's. On a CPU they are one.
Ledger& device_ledger();
Ledger& host_ledger();
// Both, each once.
std::array<Ledger*, 2> ledgers();

// During its life a rehearsal of a GPU, for which the CPU stands in, counts tensors as
// the host's. Without effect elsewhere: there a tensor's device says it.
class OnHost {
 public:
  OnHost();
  ~OnHost();
  OnHost(const OnHost&) = delete;
  OnHost& operator=(const OnHost&) = delete;

 private:
  bool outer_;
};

}  // namespace lowmem::memory
