#pragma once

#include <ATen/core/Tensor.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "lowmem/config/rules.h"
#include "lowmem/kernels/elements.h"
#include "lowmem/kernels/stream.h"
#include "lowmem/optim/passes.h"
#include "lowmem/weights/table.h"

namespace lowmem::optim {

// What an update depends on beside its slot and gradient.
struct StepInfo {
  int64_t step = 0;  // updates of the run before this one
  double lr = 0;
  float grad_scale = 1;          // of every gradient: a clipping coefficient
  bool report_rounding = false;  // whether to count what rounding to nearest would lose
};

struct UpdateResult {
  // Of the gradient as it was given, in double.
  double squared_norm = 0;
  kernels::RoundingReport rounding;
  // False: nothing has been written.
  bool finite() const { return is_finite(squared_norm); }

  // Of a gradient, by its squared norm: whether each element is finite, and the squares'
  // sum within fp32's range.
  static bool is_finite(double squared_norm) {
    return squared_norm <= std::numeric_limits<float>::max();
  }
};

// The numbers of an update on a device, all of them in its memory: the host waits for
// none, and a launch that is replayed reads those of its own step.
struct DeviceUpdate {
  // [1] double. Unless `measured`, the gradient's squares are added to it first. Where it
  // is then beyond fp32's range, as after a loss that is not finite, nothing is written.
  at::Tensor squared_norm;
  bool measured = false;    // whether it is that of all gradients already
  at::Tensor scale;         // [1] fp32, of the gradient
  at::Tensor rounding;      // [2] int64, a kernels::RoundingReport that is added to
  at::Tensor step_numbers;  // the bytes of a kernels::StepNumbers
};

// One weight's update rule. `memory.gradients = accumulate` calls it in a loop at the end
// of a step, `update` inside backward. Neither can offer the other weights, so an
// optimizer touches one weight and what is beside it, and nothing else.
class Optimizer {
 public:
  // `seed` is that of the rounding noise.
  Optimizer(const RuleNumbers& numbers, uint64_t seed) : numbers_(numbers), seed_(seed) {}
  virtual ~Optimizer() = default;
  // What is kept beside the weight; zeros before the first update.
  std::vector<weights::StateSpec> states_of(const weights::Weight& weight) const;
  // Makes it, unless it is there already. Where weights have a home, that does it:
  // Home::make_states().
  void prepare(weights::Weight& weight) const;
  // `grad` has the weight's shape and its type, or fp32. Runs without a graph. Looks at
  // the whole gradient before it writes to the weight or what is beside it.
  UpdateResult update(weights::Weight& weight, const at::Tensor& grad,
                      const StepInfo& step) {
    return update(weight, Passes(weight, grad), step);
  }
  // The same, by a bit, of a weight that may be there by rows.
  UpdateResult update(weights::Weight& weight, const Passes& passes,
                      const StepInfo& step);
  // The same on a device, put on its stream. Does not count Weight::updates, which stand
  // for the steps of the run there.
  void update_on_device(weights::Weight& weight, const Passes& passes,
                        const DeviceUpdate& update);
  // What update_on_device() reads of a step.
  virtual kernels::StepNumbers step_numbers(const StepInfo& step) const;

 protected:
  // The rule's own part of states_of().
  virtual std::vector<weights::StateSpec> rule_states(
      const weights::Weight& weight) const = 0;

  // Applies step.grad_scale to the gradient, but returns the norm without it. Returns
  // early, with nothing written, if the gradient is not finite.
  virtual UpdateResult apply(weights::Weight& weight, const Passes& passes,
                             const StepInfo& step) = 0;

  // A rule without a device kernel leaves it at this, which throws Error.
  virtual void apply_on_device(weights::Weight& weight, const Passes& passes,
                               const DeviceUpdate& update);

  // The weight as kernels write it, with what its rounding needs.
  kernels::ParamView weights_of(weights::Weight& weight, const StepInfo& step) const;

  RuleNumbers numbers_;
  uint64_t seed_;
};

// The optimizer that the configuration names, its `auto` values resolved. `seed` is that
// of the rounding noise.
std::unique_ptr<Optimizer> make_optimizer(const OptimizerConfig& config, uint64_t seed);

}  // namespace lowmem::optim
