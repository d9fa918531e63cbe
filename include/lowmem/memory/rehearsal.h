#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "lowmem/memory/scope.h"
#include "lowmem/metrics/progress.h"

namespace lowmem::memory {

// A rehearsal runs the program for its allocations alone: loops over elements and matrix
// products are left out, results have their room and no meaning. Whatever looks at a
// number to decide something must ask rehearsing() first.
//
// Process-wide, like the memory that it is about; one thread at a time.
bool rehearsing();

// The GPU that a rehearsal is for, where the CPU stands in for one. What takes other
// memory there than here asks for it.
struct RehearsedGpu {
  int64_t multiprocessors = 0;
};
const RehearsedGpu* rehearsed_gpu();  // null: the CPU stands for itself

// What a rehearsal came to, in bytes above what was there when it began.
struct Rehearsed {
  int64_t peak = 0;
  PhaseBytes by_phase{};
  ItemBytes items{};      // at the peak; they add up to it
  int64_t host_peak = 0;  // on the host, where a GPU computes; else 0
};

// While one lives, tensors on the CPU are counted as ever, but large ones get addresses
// without memory behind them, and arithmetic is left out. So the program itself, run once
// in it, says what it will need: nothing has to be kept in step with it. A step of a
// model of a billion weights takes some tenths of a second and some MiB. Stages within
// are silent.
//
// The ledgers forget what they counted in between when it ends; every tensor made in it
// must be gone by then. One at a time.
class Rehearsal {
 public:
  // `gpu`: where the run is to be on one.
  explicit Rehearsal(const std::optional<RehearsedGpu>& gpu = std::nullopt);
  ~Rehearsal();
  Rehearsal(const Rehearsal&) = delete;
  Rehearsal& operator=(const Rehearsal&) = delete;

  Rehearsed peaks() const;
  // Bytes in the memory that is computed with, before it.
  int64_t began_with() const;

 private:
  struct Before;
  std::unique_ptr<Before> before_;
  metrics::Progress::Silence silence_;
};

}  // namespace lowmem::memory
