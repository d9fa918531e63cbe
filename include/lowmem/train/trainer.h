#pragma once

#include "lowmem/train/results.h"
#include "lowmem/train/run_folder.h"
#include "lowmem/train/session.h"

namespace lowmem::train {

// Trains from the first step to the last, evaluating before, between and after as the
// configuration says, and fills the run's folder: metrics, evaluations, the model, and
// results.json last.
Results train(const RunConfig& config);

}  // namespace lowmem::train
