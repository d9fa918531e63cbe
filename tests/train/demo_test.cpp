// The embedded demo tells a working trainer from a broken one.
#include "lowmem/train/session.h"
#include "train/demo_folder.h"

namespace lowmem::train {
namespace {

class Demo : public DemoFolder {
 protected:
  // bf16 weights, and the defaults of the memory section.
  static RunConfig low_memory(double lr) {
    RunConfig low = config(OptimizerKind::kAdafactor, lr);
    low.model.dtype = low.model.compute_dtype = DType::kBF16;
    return low;
  }

  // Accuracy after `steps` updates.
  static double accuracy_after(const RunConfig& config, int64_t steps) {
    Session session(config, read_inputs(config));
    for (int64_t step = 0; step < steps; ++step)
      session.begin_step(step, /*report_rounding=*/false).wait();
    return session.evaluate().hellaswag->accuracy.acc;
  }
};

TEST_F(Demo, IsAGuessBeforeTraining) {
  const double acc = accuracy_after(config(OptimizerKind::kAdam, 3e-3), 0);
  EXPECT_GT(acc, 0.10);
  EXPECT_LT(acc, 0.40);
}

TEST_F(Demo, AdamClimbsAboveNinetyPercent) {
  EXPECT_GT(accuracy_after(config(OptimizerKind::kAdam, 3e-3), 150), 0.9);
}

TEST_F(Demo, AdafactorClimbsAboveNinetyPercent) {
  EXPECT_GT(accuracy_after(config(OptimizerKind::kAdafactor, 0.02), 150), 0.9);
}

TEST_F(Demo, TheLowMemoryRecipeClimbsAboveNinetyPercent) {
  EXPECT_GT(accuracy_after(low_memory(0.02), 150), 0.9);
}

// Steps of half a percent: stochastic rounding keeps them on average, nearest loses most.
TEST_F(Demo, RoundingToNearestLosesSmallStepsAndStochasticDoesNot) {
  RunConfig config = low_memory(0.002);
  const double stochastic = accuracy_after(config, 300);
  config.optimizer.rounding = RoundingMode::kNearest;
  EXPECT_GT(stochastic, accuracy_after(config, 300) + 0.1);
  EXPECT_GT(stochastic, 0.85);
}

TEST_F(Demo, AWrongSignDoesNotClimb) {
  EXPECT_LT(accuracy_after(config(OptimizerKind::kAdam, -3e-3), 150), 0.4);
}

TEST_F(Demo, AFrozenModelDoesNotClimb) {
  EXPECT_LT(accuracy_after(config(OptimizerKind::kAdam, 0), 150), 0.4);
}

}  // namespace
}  // namespace lowmem::train
