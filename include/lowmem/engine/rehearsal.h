#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>

#include "lowmem/engine/memory_meter.h"
#include "lowmem/ops/rehearsal.h"

namespace lowmem::engine {

// What a rehearsal came to, in bytes above what was there when it began.
struct Rehearsed {
  int64_t peak = 0;
  std::array<int64_t, kPhases> by_phase{};
  ops::ItemBytes items{};  // at the peak; they add up to it
};

// While one lives, tensors on the CPU are counted as ever, but large ones get addresses
// without memory behind them, and arithmetic is left out. So the program itself, run once
// in it, says what it will need: nothing has to be kept in step with it. A step of a
// model of a billion weights takes some tenths of a second and some MiB.
//
// The meter forgets what it counted in between when it ends; every tensor made in it must
// be gone by then. One at a time.
class Rehearsal {
 public:
  // `gpu`: where the run is to be on one.
  explicit Rehearsal(const std::optional<ops::RehearsedGpu>& gpu = std::nullopt);
  ~Rehearsal();
  Rehearsal(const Rehearsal&) = delete;
  Rehearsal& operator=(const Rehearsal&) = delete;

  Rehearsed peaks() const;

 private:
  struct Before;
  std::unique_ptr<Before> before_;
  int64_t start_ = 0;
  ops::WithoutArithmetic without_arithmetic_;
};

}  // namespace lowmem::engine
