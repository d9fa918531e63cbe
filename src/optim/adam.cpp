#include "lowmem/kernels/adam.h"

#include <ATen/ATen.h>

#include <cmath>

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

 private:
  UpdateResult apply(ParamSlot& slot, const at::Tensor& grad,
                     const StepInfo& step) override {
    UpdateResult result{ops::squared_norm(grad), {}};
    if (!result.finite()) return result;
    const double t = static_cast<double>(slot.updates + 1);
    const double decay = *config_.weight_decay;
    const bool decoupled = config_.name == OptimizerKind::kAdamW;
    kernels::AdamArgs args{
        .weights = weights_of(slot, step),
        .gradient = ops::const_array_of(grad),
        .mean = average(slot, "exp_avg", kMeanNoise, step),
        .mean_square = average(slot, "exp_avg_sq", kSquareNoise, step),
        .scale = step.grad_scale,
        .mean_rate = static_cast<float>(1 - config_.beta1),
        .beta2 = static_cast<float>(*config_.beta2),
        .square_rate = static_cast<float>(1 - *config_.beta2),
        .eps = static_cast<float>(*config_.eps),
        .step_size = static_cast<float>(step.lr / (1 - std::pow(config_.beta1, t))),
        .root = static_cast<float>(std::sqrt(1 - std::pow(*config_.beta2, t))),
        .coupled_decay = decoupled ? 0.0f : static_cast<float>(decay),
        .decoupled_keep = decoupled ? static_cast<float>(1 - step.lr * decay) : 1.0f,
    };
    result.rounding = ops::parallel_update(
        slot.param.numel(), ops::kGrain,
        [&](int64_t begin, int64_t end) { return kernels::adam(args, begin, end); });
    return result;
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
