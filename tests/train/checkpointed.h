// A run with a checkpoint after each step, and what becomes of it once it goes on.
#pragma once

#include <gmock/gmock.h>

#include "lowmem/core/error.h"
#include "train/resume.h"

namespace lowmem::train {

class Checkpointed : public DemoFolder {
 protected:
  // Settings of six steps with a checkpoint after each, all kept.
  RunConfig settings(const std::string& name) {
    RunConfig config = DemoFolder::config(OptimizerKind::kAdam, 3e-3);
    config.run.dir = folder() / "runs";
    config.run.name = name;
    config.run.overwrite = true;
    config.eval.data.clear();
    config.train.max_steps = 6;
    config.train.log_every = 1;
    config.train.save_every = 1;
    config.train.keep_checkpoints = 0;
    return config;
  }
  RunConfig trained(const std::string& name) {
    RunConfig config = settings(name);
    train(config);
    return config;
  }
  // Settings with nothing but the layers to train.
  RunConfig only_layers(const std::string& name, bool whole) {
    RunConfig config = settings(name);
    config.model.train = {"layers"};
    config.train.whole_checkpoints = whole;
    return config;
  }
  static std::filesystem::path run_of(const RunConfig& config) {
    return std::filesystem::path(config.run.dir) / config.run.name;
  }
  // As a process that was killed before the last two steps were saved.
  static void forget_end(const RunConfig& config) {
    std::filesystem::remove(run_of(config) / "results.json");
    for (const char* step : {"step-00000005", "step-00000006"})
      std::filesystem::remove_all(run_of(config) / "checkpoints" / step);
  }
  static Results resume(const RunConfig& config) {
    RunControl control;
    control.resume = true;
    return train(config, control);
  }
  static std::string refusal(const RunConfig& config) {
    try {
      resume(config);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
};

}  // namespace lowmem::train
