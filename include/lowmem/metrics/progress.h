#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "lowmem/core/live_line.h"

namespace lowmem::metrics {

// A stage that may take long, told to whoever waits for it:
//
//   metrics::Progress progress("reading rows", rows.size());
//   for (const Row& row : rows) {
//     ...
//     progress.add();
//   }
//
// On a terminal the live line (core/live_line.h) says what is done of how much, and the
// time left, while the object lives; then what it said before is there again. Elsewhere a
// stage of more than ten seconds says once, when these are over, how far it is.
//
// add() is cheap enough for every row or piece, a few nanoseconds: it looks at the clock
// only now and then, less often the faster they come. One thread uses it.
class Progress {
 public:
  enum class Unit { kItems, kBytes };

  // `total` 0: not known, and then neither are percent and time left.
  explicit Progress(std::string what, int64_t total = 0, Unit unit = Unit::kItems);

  void add(int64_t done = 1) {
    done_ += done;
    if (--adds_to_go_ == 0) look();
  }
  int64_t done() const { return done_; }

  // Stages that begin during its life say nothing.
  class Silence {
   public:
    Silence();
    ~Silence();
    Silence(const Silence&) = delete;
    Silence& operator=(const Silence&) = delete;
  };

 private:
  using Clock = std::chrono::steady_clock;

  void look();
  std::string text(double seconds) const;

  std::string what_;
  int64_t total_;
  Unit unit_;
  int64_t done_ = 0;
  int64_t adds_between_ = 1, adds_to_go_ = 1;  // between two looks at the clock
  bool told_;                                  // the one line on the log
  Clock::time_point start_ = Clock::now(), looked_ = start_;
  std::optional<live_line::Scope> line_;  // none: silent
};

}  // namespace lowmem::metrics
