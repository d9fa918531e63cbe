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

// Throws Error where a run of so many steps cannot follow adapter.kind = adalora's
// schedule: ranks are chosen at one step at least after adapter.tinit, with
// adapter.tfinal left. Of a run without steps, and of other kinds, nothing is asked.
void check_rank_schedule(const AdapterConfig& adapter, int64_t steps);

}  // namespace lowmem
