#include "lowmem/config/optimizer_defaults.h"

#include <stdexcept>

namespace lowmem {

OptimizerDefaults optimizer_defaults(OptimizerKind kind) {
  switch (kind) {
    case OptimizerKind::kAdam:
      return {.beta2 = 0.999, .eps = 1e-8, .weight_decay = 0};
    case OptimizerKind::kAdamW:
      return {.beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.01};
    case OptimizerKind::kAdafactor:
      return {.beta2 = 0.99, .eps = 1e-30, .weight_decay = 0};
    case OptimizerKind::kSgd:
      return {.beta2 = std::nullopt, .eps = std::nullopt, .weight_decay = 0};
  }
  throw std::logic_error("an OptimizerKind without defaults");
}

void resolve_defaults(OptimizerConfig& optimizer) {
  const OptimizerDefaults defaults = optimizer_defaults(optimizer.name);
  if (!optimizer.beta2) optimizer.beta2 = defaults.beta2;
  if (!optimizer.eps) optimizer.eps = defaults.eps;
  if (!optimizer.weight_decay) optimizer.weight_decay = defaults.weight_decay;
}

}  // namespace lowmem
