// A run may go on in another home than it began in, and ends with the same bits.
#include "train/resume.h"

namespace lowmem::train {
namespace {

class ResumeElsewhere : public DemoFolder,
                        public testing::WithParamInterface<OptimizerKind> {};

TEST_P(ResumeElsewhere, EndsWithTheSameBits) {
  RunConfig config = this->config(GetParam(), 0.003);
  config.model.train = {"layers"};
  config.run.dir = folder() / "runs";
  config.run.overwrite = true;
  config.train.max_steps = 7;
  config.train.log_every = 2;
  config.train.save_every = 2;
  config.eval.every = Interval::every(3);
  config.eval.limit = 8;
  config.run.name = "in_memory";
  ASSERT_EQ(train(config).status, "finished");

  config.run.name = "elsewhere";
  const auto go_on = [&](int64_t steps, const std::vector<std::string>& overrides,
                         bool resume) {
    RunConfig other = config;
    for (const std::string& override : overrides) apply_override(other, override);
    RunControl control;
    control.resume = resume;
    if (steps < 7) control.stop = [=](int64_t done) { return done >= steps; };
    EXPECT_EQ(train(other, control).status, steps < 7 ? "stopped" : "finished");
  };
  go_on(1, {"memory.weights=disk"}, false);
  go_on(2, {"memory.kept=disk", "memory.activations=keep", "memory.ahead=0"}, true);
  go_on(3, {"memory.states=disk", "memory.activations=keep"}, true);
  go_on(5, {"memory.weights=disk", "memory.ahead=0", "memory.gradients=accumulate"},
        true);
  go_on(6,
        {"memory.weights=disk", "memory.states=device", "memory.resident_blocks=1",
         "train.whole_checkpoints=true"},
        true);
  go_on(7, {"memory.weights=disk", "memory.kept=disk", "memory.activations=1"}, true);
  expect_equal_runs(folder() / "runs/in_memory", folder() / "runs/elsewhere");
}

INSTANTIATE_TEST_SUITE_P(Train, ResumeElsewhere,
                         testing::Values(OptimizerKind::kAdafactor, OptimizerKind::kAdam,
                                         OptimizerKind::kSgd),
                         [](const auto& tested) {
                           return std::string(word_of(tested.param));
                         });

}  // namespace
}  // namespace lowmem::train
