#pragma once

#include "lowmem/config/run_config.h"

namespace lowmem {

// What `auto` means for each optimizer: torch.optim's defaults for adam, adamw and sgd;
// for adafactor those of its rule here. nullopt where the rule has no such number.
struct OptimizerDefaults {
  AutoDouble beta2;
  AutoDouble eps;
  double weight_decay;
};

OptimizerDefaults optimizer_defaults(OptimizerKind kind);

// Whether it is a form of Adam: averages of the gradient and of its square.
inline bool is_adam(const OptimizerConfig& optimizer) {
  return optimizer.name == OptimizerKind::kAdam ||
         optimizer.name == OptimizerKind::kAdamW;
}

// Replaces every `auto` of the section that the optimizer reads by its number, so that a
// saved config keeps its meaning if a default ever changes.
void resolve_defaults(OptimizerConfig& optimizer);

}  // namespace lowmem
