#pragma once

#include <memory>

#include "lowmem/config/optimizer_defaults.h"
#include "lowmem/optim/optimizer.h"

namespace lowmem::optim {

// What kernels read and write of an update on a device.
kernels::Pending pending_of(const DeviceUpdate& update);
kernels::RoundingReport* report_of(const DeviceUpdate& update);

// One a file: adam.cpp (adam and adamw), adafactor.cpp, sgd.cpp.
std::unique_ptr<Optimizer> make_adam(const OptimizerConfig& config, uint64_t seed);
std::unique_ptr<Optimizer> make_adafactor(const OptimizerConfig& config, uint64_t seed);
std::unique_ptr<Optimizer> make_sgd(const OptimizerConfig& config, uint64_t seed);

}  // namespace lowmem::optim
