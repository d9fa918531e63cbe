#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lowmem/train/results.h"

namespace lowmem::train {

// That a loss is what guessing gives, all tokens of the vocabulary being equally likely,
// or worse; nullopt where it is lower by 2% or more.
std::optional<std::string> no_better_than_guessing(double loss, int64_t vocabulary);

// What whoever looks at a finished run's model should know of how it went, a line each:
// that nothing was learned, that it evaluates worse than before training, or worse than
// it did in between. `exported`: the step whose weights were written.
std::vector<std::string> remarks(const Results& results, int64_t vocabulary,
                                 int64_t exported);

}  // namespace lowmem::train
