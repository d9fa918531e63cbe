#pragma once

#include <cstdint>
#include <exception>
#include <optional>
#include <string>

#include "lowmem/config/run_config.h"
#include "lowmem/core/error.h"

namespace lowmem::train {

// What a run holds for as long as it lasts, in bytes.
struct Resident {
  int64_t weights = 0;
  int64_t optimizer_state = 0;
};

// The setting that would save most for the least, as overrides to paste: first what costs
// nothing or time only, then what changes the optimizer or its precision, then smaller
// batches. Empty where all of it is chosen already.
std::string next_cheaper(const RunConfig& config);

// The answer where memory has run out and a limit on the process is why, so that no other
// setting would help: it leaves little beside what the program takes itself.
// Where a GPU computes and the host's memory ran out; nullopt: it is about something
// else.
std::optional<Error> host_exhausted(const std::exception& failure);

std::optional<Error> too_tight_a_limit(const std::exception& failure);

// The answer to memory having run out: what was asked for, what is resident, and the next
// cheaper setting. `failure`: one of which
// memory::asked_of() knows.
Error out_of_memory(const RunConfig& config, const Resident& resident,
                    const std::exception& failure);

}  // namespace lowmem::train
