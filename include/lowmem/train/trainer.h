#pragma once

#include <cstdint>
#include <functional>

#include "lowmem/train/results.h"
#include "lowmem/train/run_folder.h"
#include "lowmem/train/session.h"

namespace lowmem::train {

struct RunControl {
  // Go on from the newest checkpoint that is whole, or begin where there is none.
  bool resume = false;
  // Asked after each step, with their number, and within evaluations: true saves a
  // checkpoint and ends the run, with the status "stopped".
  std::function<bool(int64_t steps)> stop;
  // Called once, when everything is loaded and from where on stop() is asked.
  std::function<void()> begins;
};

// Trains from the first step to the last, evaluating before, between and after as the
// configuration says, and fills the run's folder: metrics, evaluations, checkpoints, the
// model, and results.json last. A run that goes on ends with the same bits as one that
// was never interrupted.
Results train(const RunConfig& config, const RunControl& control = {});

}  // namespace lowmem::train
