#pragma once

#include "lowmem/config/run_config.h"
#include "progress.h"

namespace lowmem::train {

// train.on_nonfinite: what becomes of a step whose loss or gradients are not finite, of
// which nothing has been written to a weight. Counts it and warns; throws Error where the
// run is to stop, or where so many came in a row that the weights are beyond recovery.
// Of finite steps it ends the row.
void answer_nonfinite(const engine::StepResult& result, const RunConfig& config,
                      Progress& progress);

}  // namespace lowmem::train
