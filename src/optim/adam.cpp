#include "lowmem/kernels/adam.h"

#include <ATen/ATen.h>

#include <cmath>

#include "lowmem/ops/device.h"
#include "lowmem/ops/elements.h"
#include "optimizers.h"

namespace lowmem::optim {
namespace {

// Adam and AdamW: they differ in where weight decay enters.
class Adam final : public Optimizer {
 public:
  using Optimizer::Optimizer;

  int64_t state_bytes(const at::Tensor& param) const override {
    return 2 * dtype_size(config_.state_dtype) * param.numel() + rounding_bytes(param);
  }

  kernels::StepNumbers step_numbers(const StepInfo& step) const override {
    return numbers(step, step.step + 1);
  }

 private:
  UpdateResult apply(ParamSlot& slot, const at::Tensor& grad,
                     const StepInfo& step) override {
    UpdateResult result{ops::squared_norm(grad), {}};
    if (!result.finite()) return result;
    kernels::AdamArgs args = args_of(slot, grad, step);
    args.scale = step.grad_scale;
    const kernels::StepNumbers now = numbers(step, slot.updates + 1);
    args.step_size = now.step_size;
    args.root = now.root;
    args.decoupled_keep = now.decoupled_keep;
    result.rounding = ops::parallel_update(
        slot.param.numel(), ops::kGrain,
        [&](int64_t begin, int64_t end) { return kernels::adam(args, begin, end); });
    return result;
  }

  void apply_on_device(ParamSlot& slot, const at::Tensor& grad,
                       const DeviceUpdate& update) override {
    if (!update.measured) measure_on_device(grad, update.squared_norm);
    kernels::cuda::adam(args_of(slot, grad, {}), grad.numel(), pending_of(update),
                        report_of(update), ops::stream_of(grad));
  }

  // The factors of the t-th update.
  kernels::StepNumbers numbers(const StepInfo& step, int64_t updates) const {
    const double t = static_cast<double>(updates);
    kernels::StepNumbers numbers = Optimizer::step_numbers(step);
    numbers.step_size = static_cast<float>(step.lr / (1 - std::pow(config_.beta1, t)));
    numbers.root = static_cast<float>(std::sqrt(1 - std::pow(*config_.beta2, t)));
    if (decoupled())
      numbers.decoupled_keep = static_cast<float>(1 - step.lr * *config_.weight_decay);
    return numbers;
  }

  bool decoupled() const { return config_.name == OptimizerKind::kAdamW; }

  // All but the factors.
  kernels::AdamArgs args_of(ParamSlot& slot, const at::Tensor& grad,
                            const StepInfo& step) const {
    return {
        .weights = weights_of(slot, step),
        .gradient = ops::const_array_of(grad),
        .mean = average(slot, "exp_avg", kMeanNoise, step),
        .mean_square = average(slot, "exp_avg_sq", kSquareNoise, step),
        .mean_rate = static_cast<float>(1 - config_.beta1),
        .beta2 = static_cast<float>(*config_.beta2),
        .square_rate = static_cast<float>(1 - *config_.beta2),
        .eps = static_cast<float>(*config_.eps),
        .coupled_decay = decoupled() ? 0.0f : static_cast<float>(*config_.weight_decay)};
  }

  // A bf16 average has noise of its own: the upper bits of the parameter's number tell
  // the streams apart.
  static constexpr uint32_t kMeanNoise = 0x80000000, kSquareNoise = 0x40000000;

  kernels::State average(ParamSlot& slot, const char* name, uint32_t stream,
                         const StepInfo& step) const {
    const bool fp32 = config_.state_dtype == DType::kF32;
    at::Tensor& tensor =
        state(slot, name, slot.param.sizes(), fp32 ? at::kFloat : at::kBFloat16);
    return {tensor.mutable_data_ptr(),
            config_.state_dtype,
            {seed_, static_cast<uint32_t>(step.step), slot.index | stream}};
  }
};

}  // namespace

std::unique_ptr<Optimizer> make_adam(const OptimizerConfig& config, uint64_t seed) {
  return std::make_unique<Adam>(config, seed);
}

}  // namespace lowmem::optim
