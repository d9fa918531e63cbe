// The embedded demo tells a working trainer from a broken one.
#include "lowmem/data/demo.h"

#include <gtest/gtest.h>

#include "lowmem/io/atomic_file.h"
#include "lowmem/model/hf_weights.h"
#include "lowmem/train/session.h"

namespace lowmem::train {
namespace {

namespace fs = std::filesystem;

class Demo : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder() = fs::temp_directory_path() / ("lowmem-demo-" + std::to_string(getpid()));
    fs::create_directories(folder() / "model");
    for (const DemoFile& file : demo_files(7))
      write_file_atomically(folder() / file.name, file.text);
    model::write_random_model(folder() / "model/config.json", folder() / "model",
                              DType::kF32, 7);
  }
  static void TearDownTestSuite() { fs::remove_all(folder()); }

  static fs::path& folder() {
    static fs::path path;
    return path;
  }

  static RunConfig config(OptimizerKind optimizer, double lr) {
    RunConfig config;
    config.model.path = (folder() / "model").string();
    config.model.dtype = config.model.compute_dtype = DType::kF32;
    config.model.train = {"all"};
    config.data.train = {(folder() / "train.jsonl").string()};
    config.eval.data = (folder() / "val.jsonl").string();
    config.eval.limit = 200;
    config.train.batch_size = 16;
    config.optimizer.name = optimizer;
    config.optimizer.lr = lr;
    return config;
  }

  // bf16 weights, and the defaults of the memory section.
  static RunConfig low_memory(double lr) {
    RunConfig low = config(OptimizerKind::kAdafactor, lr);
    low.model.dtype = low.model.compute_dtype = DType::kBF16;
    return low;
  }

  // Accuracy after `steps` updates.
  static double accuracy_after(const RunConfig& config, int64_t steps) {
    Session session(config);
    for (int64_t step = 0; step < steps; ++step)
      session.begin_step(step, /*report_rounding=*/false).wait();
    return session.evaluate().accuracy.acc;
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
