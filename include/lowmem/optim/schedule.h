#pragma once

#include <cstdint>

#include "lowmem/config/run_config.h"

namespace lowmem::optim {

// Learning rates of a run of `total_steps` updates: a linear rise from 0 over
// warmup_steps, then constant, a line to 0, or half a cosine to 0; the formulas are those
// of transformers' get_{constant,linear,cosine}_schedule_with_warmup.
class Schedule {
 public:
  Schedule(const OptimizerConfig& config, int64_t total_steps);
  // The rate of update `step`, counted from 0.
  double at(int64_t step) const;

 private:
  ScheduleKind kind_;
  double lr_;
  int64_t warmup_, total_;
};

}  // namespace lowmem::optim
