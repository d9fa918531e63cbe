#pragma once

#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include "lowmem/engine/gradients.h"

namespace lowmem::engine {

// Hands a weight's gradient to the policy as soon as autograd has it, and leaves none
// behind, so that at most one gradient is alive unless the policy keeps more.
class GradientHook final : public torch::autograd::PostAccumulateGradHook {
 public:
  GradientHook(Gradients& gradients, weights::Weight& weight)
      : gradients_(gradients), weight_(weight) {}

  void operator()(const torch::autograd::Variable& tensor) override {
    gradients_.take(weight_, std::exchange(tensor.mutable_grad(), {}));
  }

 private:
  Gradients& gradients_;
  weights::Weight& weight_;
};

}  // namespace lowmem::engine
