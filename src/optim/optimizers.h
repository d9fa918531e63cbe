#pragma once

#include <memory>

#include "lowmem/config/optimizer_defaults.h"
#include "lowmem/optim/optimizer.h"

namespace lowmem::optim {

// One a file: adam.cpp (adam and adamw), adafactor.cpp, sgd.cpp.
std::unique_ptr<Optimizer> make_adam(const OptimizerConfig& config, uint64_t seed);
std::unique_ptr<Optimizer> make_adafactor(const OptimizerConfig& config, uint64_t seed);
std::unique_ptr<Optimizer> make_sgd(const OptimizerConfig& config, uint64_t seed);

}  // namespace lowmem::optim
