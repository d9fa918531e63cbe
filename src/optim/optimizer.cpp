#include "lowmem/optim/optimizer.h"

#include <ATen/ATen.h>

#include "lowmem/core/error.h"
#include "lowmem/ops/elements.h"
#include "optimizers.h"

namespace lowmem::optim {
namespace {

constexpr const char* kCompensation = "compensation";

kernels::Rounding rounding_of(RoundingMode mode) {
  switch (mode) {
    case RoundingMode::kStochastic:
      return kernels::Rounding::kStochastic;
    case RoundingMode::kKahan:
      return kernels::Rounding::kKahan;
    case RoundingMode::kNearest:
      break;
  }
  return kernels::Rounding::kNearest;
}

}  // namespace

std::vector<weights::StateSpec> Optimizer::states_of(
    const weights::Weight& weight) const {
  std::vector<weights::StateSpec> states = rule_states(weight);
  if (rounding_bytes(numbers_.rounding, weight.format) > 0)
    states.push_back({kCompensation, weight.spec.shape, at::kBFloat16});
  return states;
}

void Optimizer::prepare(weights::Weight& weight) const {
  for (const weights::StateSpec& state : states_of(weight))
    weights::keep_zeros(weight, state);
}

UpdateResult Optimizer::update(weights::Weight& weight, const Passes& passes,
                               const StepInfo& step) {
  const at::NoGradGuard no_grad;
  StepInfo own = step;
  own.lr *= weight.lr_ratio;
  const UpdateResult result = apply(weight, passes, own);
  if (!result.finite()) return result;
  ++weight.updates;
  // Kernels write past autograd's back; a graph that still needs the old weights must
  // fail.
  weight.here.unsafeGetTensorImpl()->bump_version();
  return result;
}

void Optimizer::update_on_device(weights::Weight& weight, const Passes& passes,
                                 const DeviceUpdate& update) {
  const at::NoGradGuard no_grad;
  apply_on_device(weight, passes, update);
  weight.here.unsafeGetTensorImpl()->bump_version();
}

void Optimizer::apply_on_device(weights::Weight&, const Passes&, const DeviceUpdate&) {
  throw Error("optimizer.name", "has no kernel for GPUs",
              "Choose another, or set memory.device = cpu");
}

kernels::StepNumbers Optimizer::step_numbers(const StepInfo& step) const {
  kernels::StepNumbers numbers;
  numbers.lr = step.lr;
  numbers.step = static_cast<uint32_t>(step.step);
  return numbers;
}

kernels::Pending pending_of(const DeviceUpdate& update) {
  return {update.scale.const_data_ptr<float>(),
          update.squared_norm.const_data_ptr<double>(),
          static_cast<const kernels::StepNumbers*>(update.step_numbers.const_data_ptr())};
}

kernels::RoundingReport* report_of(const DeviceUpdate& update) {
  return static_cast<kernels::RoundingReport*>(update.rounding.mutable_data_ptr());
}

kernels::ParamView Optimizer::weights_of(weights::Weight& weight,
                                         const StepInfo& step) const {
  kernels::ParamView view = ops::weights_of(weight.here);
  view.rounding = rounding_of(numbers_.rounding);
  view.noise = {seed_, static_cast<uint32_t>(step.step), weight.index};
  view.report = step.report_rounding;
  const auto compensation = weight.beside.find(kCompensation);
  if (compensation != weight.beside.end())
    view.compensation = ops::bf16_of(compensation->second);
  return view;
}

std::unique_ptr<Optimizer> make_optimizer(const OptimizerConfig& config, uint64_t seed) {
  const RuleNumbers numbers = numbers_of(config);
  switch (config.name) {
    case OptimizerKind::kAdam:
      return make_adam(numbers, /*decoupled=*/false, seed);
    case OptimizerKind::kAdamW:
      return make_adam(numbers, /*decoupled=*/true, seed);
    case OptimizerKind::kAdafactor:
      return make_adafactor(numbers, seed);
    case OptimizerKind::kSgd:
      return make_sgd(numbers, seed);
  }
  return nullptr;
}

}  // namespace lowmem::optim
