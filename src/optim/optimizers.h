#pragma once

#include <memory>

#include "lowmem/optim/optimizer.h"

namespace lowmem::optim {

// What kernels read and write of an update on a device.
kernels::Pending pending_of(const DeviceUpdate& update);
kernels::RoundingReport* report_of(const DeviceUpdate& update);

// One a file. `decoupled`: AdamW, of which weight decay does not pass through the
// averages.
std::unique_ptr<Optimizer> make_adam(const RuleNumbers& numbers, bool decoupled,
                                     uint64_t seed);
std::unique_ptr<Optimizer> make_adafactor(const RuleNumbers& numbers, uint64_t seed);
std::unique_ptr<Optimizer> make_sgd(const RuleNumbers& numbers, uint64_t seed);

}  // namespace lowmem::optim
