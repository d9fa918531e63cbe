#pragma once

#include "lowmem/config/run_config.h"

namespace lowmem {

// What the configuration is for. Keys that only training reads are not checked for an
// evaluation; kData is a look at the training rows, which needs no weights and no run.
enum class Purpose { kTrain, kEvaluate, kData };

// Throws Error on the first value out of range, missing value or contradiction between
// keys, naming key and value and what to write instead. Reads no file: whether the model
// and the data exist is found out when they are opened.
void validate(const RunConfig& config, Purpose purpose);

}  // namespace lowmem
