#pragma once

// A run that is interrupted and goes on, beside one that is not: what both leave must be
// the same.
#include <string>
#include <vector>

#include "lowmem/config/overrides.h"
#include "lowmem/train/trainer.h"
#include "train/demo_folder.h"
#include "train/run_files.h"

namespace lowmem::train {

// Seven steps, with an evaluation after every third, in one go and in four.
inline void expect_exact_resume(RunConfig config,
                                const std::vector<std::string>& overrides) {
  config.run.dir = (std::filesystem::path(config.model.path).parent_path() / "runs");
  config.run.overwrite = true;
  config.train.max_steps = 7;
  config.train.log_every = 2;
  config.train.save_every = 2;
  config.eval.every = Interval::every(3);
  config.eval.limit = 8;
  for (const std::string& override : overrides) apply_override(config, override);

  config.run.name = "whole";
  ASSERT_EQ(train(config).status, "finished");
  const auto whole = std::filesystem::path(config.run.dir) / "whole";

  config.run.name = "parts";
  const auto parts = std::filesystem::path(config.run.dir) / "parts";
  // After a step, between two lines of metrics.jsonl; within the evaluation after step 3;
  // within the last.
  const auto stop_after = [&](int64_t steps, bool resume) {
    RunControl control;
    control.resume = resume;
    control.stop = [steps](int64_t done) { return done >= steps; };
    const Results results = train(config, control);
    EXPECT_EQ(results.status, "stopped");
    EXPECT_EQ(results.steps, steps);
    EXPECT_EQ(results_of(parts)["status"], "stopped");
  };
  stop_after(3, false);
  stop_after(5, true);
  stop_after(7, true);
  RunControl control;
  control.resume = true;
  ASSERT_EQ(train(config, control).status, "finished");
  expect_equal_runs(whole, parts);
}

}  // namespace lowmem::train
