#pragma once

#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include "lowmem/engine/gradients.h"

namespace lowmem::engine {

// Hands a weight's gradient to the policy as soon as autograd has it, and leaves none
// behind, so that at most one gradient is alive unless the policy keeps more.
class GradientHook final : public torch::autograd::PostAccumulateGradHook {
 public:
  GradientHook(Gradients& gradients, optim::ParamSlot& slot)
      : gradients_(gradients), slot_(slot) {}

  void operator()(const torch::autograd::Variable& weight) override {
    gradients_.receive(slot_, std::exchange(weight.mutable_grad(), {}));
  }

 private:
  Gradients& gradients_;
  optim::ParamSlot& slot_;
};

}  // namespace lowmem::engine
