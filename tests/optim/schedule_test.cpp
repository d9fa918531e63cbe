#include "lowmem/optim/schedule.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

namespace lowmem::optim {
namespace {

Schedule schedule(ScheduleKind kind, int64_t warmup, int64_t total) {
  OptimizerConfig config;
  config.lr = 2;
  config.schedule = kind;
  config.warmup_steps = warmup;
  return {config, total};
}

TEST(Schedule, ConstantStaysAtThePeakAfterALinearWarmUp) {
  const Schedule rate = schedule(ScheduleKind::kConstant, 4, 10);
  EXPECT_DOUBLE_EQ(rate.at(0), 0);
  EXPECT_DOUBLE_EQ(rate.at(1), 0.5);
  EXPECT_DOUBLE_EQ(rate.at(3), 1.5);
  for (const int64_t step : {4, 5, 9, 10, 1000}) EXPECT_DOUBLE_EQ(rate.at(step), 2);
}

TEST(Schedule, WithoutWarmUpTheFirstUpdateHasThePeak) {
  for (const ScheduleKind kind :
       {ScheduleKind::kConstant, ScheduleKind::kLinear, ScheduleKind::kCosine})
    EXPECT_DOUBLE_EQ(schedule(kind, 0, 10).at(0), 2);
}

TEST(Schedule, LinearFallsToZeroAtTheEndAndStaysThere) {
  const Schedule rate = schedule(ScheduleKind::kLinear, 2, 10);
  EXPECT_DOUBLE_EQ(rate.at(0), 0);
  EXPECT_DOUBLE_EQ(rate.at(1), 1);
  EXPECT_DOUBLE_EQ(rate.at(2), 2);
  EXPECT_DOUBLE_EQ(rate.at(4), 1.5);
  EXPECT_DOUBLE_EQ(rate.at(9), 0.25);
  EXPECT_DOUBLE_EQ(rate.at(10), 0);
  EXPECT_DOUBLE_EQ(rate.at(12), 0);
}

TEST(Schedule, CosineFallsToZeroAtTheEnd) {
  const Schedule rate = schedule(ScheduleKind::kCosine, 2, 10);
  EXPECT_DOUBLE_EQ(rate.at(1), 1);
  EXPECT_DOUBLE_EQ(rate.at(2), 2);
  EXPECT_DOUBLE_EQ(rate.at(4), 1 + std::cos(std::numbers::pi / 4));
  EXPECT_NEAR(rate.at(6), 1, 1e-12);
  EXPECT_NEAR(rate.at(10), 0, 1e-12);
}

TEST(Schedule, ARunShorterThanItsWarmUpNeverReachesThePeak) {
  for (const ScheduleKind kind :
       {ScheduleKind::kConstant, ScheduleKind::kLinear, ScheduleKind::kCosine}) {
    const Schedule rate = schedule(kind, 10, 3);
    EXPECT_DOUBLE_EQ(rate.at(0), 0);
    EXPECT_DOUBLE_EQ(rate.at(1), 0.2);
    EXPECT_DOUBLE_EQ(rate.at(2), 0.4);
  }
}

}  // namespace
}  // namespace lowmem::optim
