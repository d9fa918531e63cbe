#include "lowmem/optim/optimizer.h"

#include <ATen/ATen.h>

#include "lowmem/core/error.h"
#include "lowmem/kernels/norm.h"
#include "lowmem/ops/device.h"
#include "lowmem/ops/elements.h"
#include "lowmem/ops/large.h"
#include "lowmem/ops/rehearsal.h"
#include "optimizers.h"

namespace lowmem::optim {
namespace {

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

Optimizer::Optimizer(const OptimizerConfig& config, uint64_t seed)
    : config_(config), seed_(seed) {
  resolve_defaults(config_);
}

UpdateResult Optimizer::update(ParamSlot& slot, const at::Tensor& grad,
                               const StepInfo& step) {
  const at::NoGradGuard no_grad;
  const UpdateResult result = apply(slot, grad.contiguous(), step);
  if (!result.finite()) return result;
  ++slot.updates;
  // Kernels write past autograd's back; a graph that still needs the old weights must
  // fail.
  slot.param.unsafeGetTensorImpl()->bump_version();
  return result;
}

void Optimizer::update_on_device(ParamSlot& slot, const at::Tensor& grad,
                                 const DeviceUpdate& update) {
  const at::NoGradGuard no_grad;
  apply_on_device(slot, grad.contiguous(), update);
  slot.param.unsafeGetTensorImpl()->bump_version();
}

void Optimizer::apply_on_device(ParamSlot&, const at::Tensor&, const DeviceUpdate&) {
  throw Error("optimizer.name = " + std::string(word_of(config_.name)),
              "has no kernel for GPUs", "Choose another, or set memory.device = cpu");
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

void measure_on_device(const at::Tensor& grad, const at::Tensor& squared_norm) {
  at::Tensor workspace =
      at::empty({kernels::cuda::kSquaredNormWorkspace}, squared_norm.options());
  kernels::cuda::squared_norm(ops::const_array_of(grad), grad.numel(),
                              squared_norm.mutable_data_ptr<double>(),
                              workspace.mutable_data_ptr<double>(), ops::stream_of(grad));
}

at::Tensor& Optimizer::state(ParamSlot& slot, const std::string& name,
                             at::IntArrayRef shape, at::ScalarType type) {
  const ops::ItemScope item(ops::Item::kOptimizerState);
  at::Tensor& tensor = slot.state[name];
  if (!tensor.defined())
    tensor = ops::zeros(shape, at::TensorOptions(type).device(slot.param.device()));
  return tensor;
}

kernels::ParamView Optimizer::weights_of(ParamSlot& slot, const StepInfo& step) const {
  kernels::ParamView weights = ops::weights_of(slot.param);
  weights.rounding = rounding_of(config_.rounding);
  weights.noise = {seed_, static_cast<uint32_t>(step.step), slot.index};
  weights.report = step.report_rounding;
  if (weights.dtype == DType::kBF16 && config_.rounding == RoundingMode::kKahan)
    weights.compensation =
        ops::bf16_of(state(slot, "compensation", slot.param.sizes(), at::kBFloat16));
  return weights;
}

int64_t Optimizer::rounding_bytes(const at::Tensor& param) const {
  const bool compensated =
      config_.rounding == RoundingMode::kKahan && param.scalar_type() == at::kBFloat16;
  return compensated ? 2 * param.numel() : 0;
}

std::unique_ptr<Optimizer> make_optimizer(const OptimizerConfig& config, uint64_t seed) {
  switch (config.name) {
    case OptimizerKind::kAdam:
    case OptimizerKind::kAdamW:
      return make_adam(config, seed);
    case OptimizerKind::kAdafactor:
      return make_adafactor(config, seed);
    case OptimizerKind::kSgd:
      return make_sgd(config, seed);
  }
  return nullptr;
}

}  // namespace lowmem::optim
