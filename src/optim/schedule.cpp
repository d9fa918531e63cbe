#include "lowmem/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace lowmem::optim {

Schedule::Schedule(const OptimizerConfig& config, int64_t total_steps)
    : kind_(config.schedule),
      lr_(config.lr),
      warmup_(config.warmup_steps),
      total_(total_steps) {}

double Schedule::at(int64_t step) const {
  if (step < warmup_)
    return lr_ * static_cast<double>(step) / static_cast<double>(warmup_);
  const double rest = static_cast<double>(std::max<int64_t>(1, total_ - warmup_));
  const double done = static_cast<double>(step - warmup_) / rest;
  switch (kind_) {
    case ScheduleKind::kConstant:
      return lr_;
    case ScheduleKind::kLinear:
      return lr_ * std::max(0.0, 1 - done);
    case ScheduleKind::kCosine:
      return lr_ * std::max(0.0, 0.5 * (1 + std::cos(std::numbers::pi * done)));
  }
  return lr_;
}

}  // namespace lowmem::optim
