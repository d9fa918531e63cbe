#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "lowmem/config/run_config.h"

namespace lowmem::optim {

// A trained parameter and what its optimizer remembers of it.
struct ParamSlot {
  std::string name;    // Hugging Face's
  uint32_t index = 0;  // its place among all weights of the model, trained or not
  at::Tensor param;
  std::map<std::string, at::Tensor> state;  // by the optimizer's own names; fp32
  int64_t updates = 0;                      // how many it has had
};

// What an update depends on beside its slot and gradient.
struct StepInfo {
  int64_t step = 0;  // updates of the run before this one
  double lr = 0;
  float grad_scale = 1;  // of every gradient: a clipping coefficient
};

// One parameter's update rule. The trainer calls it in a loop; the gradient hook calls it
// inside backward. Neither can offer the other parameters, so an optimizer touches its
// slot and nothing else.
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  // `grad` has the parameter's shape and its type, or fp32. Runs without a graph.
  void update(ParamSlot& slot, const at::Tensor& grad, const StepInfo& step);
  // Bytes that update() will keep for a parameter of this shape; the planner asks.
  virtual int64_t state_bytes(at::IntArrayRef shape) const = 0;

 protected:
  virtual void apply(ParamSlot& slot, const at::Tensor& grad, const StepInfo& step) = 0;
  // The slot's fp32 tensor of that name, zeros the first time.
  static at::Tensor& state(ParamSlot& slot, const std::string& name,
                           at::IntArrayRef shape);
};

// The optimizer that the configuration names, its `auto` values resolved. `seed` is that
// of the rounding noise.
std::unique_ptr<Optimizer> make_optimizer(const OptimizerConfig& config, uint64_t seed);

}  // namespace lowmem::optim
