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
  Adam(const OptimizerConfig& config, uint64_t seed) : config_(config), seed_(seed) {
    resolve_defaults(config_);
  }

  int64_t state_bytes(at::IntArrayRef shape) const override {
    return 2 * 4 * c10::multiply_integers(shape);
  }

 private:
  void apply(ParamSlot& slot, const at::Tensor& grad, const StepInfo& step) override {
    const double t = static_cast<double>(slot.updates + 1);
    const double decay = *config_.weight_decay;
    const bool decoupled = config_.name == OptimizerKind::kAdamW;
    kernels::AdamArgs args{
        .weights = ops::weights_of(slot.param),
        .gradient = ops::gradient_of(grad),
        .mean = ops::floats_of(state(slot, "exp_avg", slot.param.sizes())),
        .mean_square = ops::floats_of(state(slot, "exp_avg_sq", slot.param.sizes())),
        .scale = step.grad_scale,
        .mean_rate = static_cast<float>(1 - config_.beta1),
        .beta2 = static_cast<float>(*config_.beta2),
        .square_rate = static_cast<float>(1 - *config_.beta2),
        .eps = static_cast<float>(*config_.eps),
        .step_size = static_cast<float>(step.lr / (1 - std::pow(config_.beta1, t))),
        .root = static_cast<float>(std::sqrt(1 - std::pow(*config_.beta2, t))),
        .coupled_decay = decoupled ? 0.0f : static_cast<float>(decay),
        .decoupled_keep = decoupled ? static_cast<float>(1 - step.lr * decay) : 1.0f,
        .rounding = rounding_of(config_.rounding),
        .noise = {seed_, static_cast<uint32_t>(step.step), slot.index},
    };
    ops::parallel(slot.param.numel(), ops::kGrain,
                  [&](int64_t begin, int64_t end) { kernels::adam(args, begin, end); });
  }

  OptimizerConfig config_;
  uint64_t seed_;
};

}  // namespace

std::unique_ptr<Optimizer> make_adam(const OptimizerConfig& config, uint64_t seed) {
  return std::make_unique<Adam>(config, seed);
}

}  // namespace lowmem::optim
