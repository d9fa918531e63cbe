#pragma once

#include <string>
#include <vector>

#include "lowmem/train/plan.h"

namespace lowmem::train {

// A way to fine-tune the same model on the same rows, and what it would need.
struct Method {
  std::string name;                    // "lora", "lora over nf4"
  std::vector<std::string> overrides;  // section.key=value, over the configuration
  Plan plan;
  int64_t trained = 0;  // parameters
  std::string refused;  // why it is none for this model and machine; then no plan
};

// The ways that there are: no adapter, with the weights that model.train names; adapters,
// with the configuration's own settings where it has one; over a model in codes; the
// first and the last also with weights that stay elsewhere. Two rehearsals each, some
// tenths of a second for a large model. `now`: the plan of the configuration, whose
// measured speeds are used.
std::vector<Method> plan_methods(const RunConfig& config, const Inputs& inputs,
                                 const Plan& now);

// A line each, and one of settings to paste.
std::string to_text(const std::vector<Method>& methods);

}  // namespace lowmem::train
