#include "lowmem/kernels/sgd.h"

#include <ATen/ATen.h>

#include "lowmem/ops/elements.h"
#include "optimizers.h"

namespace lowmem::optim {
namespace {

class Sgd final : public Optimizer {
 public:
  Sgd(const OptimizerConfig& config, uint64_t seed) : config_(config), seed_(seed) {
    resolve_defaults(config_);
  }

  int64_t state_bytes(at::IntArrayRef shape) const override {
    return config_.momentum == 0 ? 0 : 4 * c10::multiply_integers(shape);
  }

 private:
  void apply(ParamSlot& slot, const at::Tensor& grad, const StepInfo& step) override {
    kernels::SgdArgs args{
        .weights = ops::weights_of(slot.param),
        .gradient = ops::gradient_of(grad),
        .buffer = config_.momentum == 0 ? nullptr
                                        : ops::floats_of(state(slot, "momentum_buffer",
                                                               slot.param.sizes())),
        .scale = step.grad_scale,
        .lr = static_cast<float>(step.lr),
        .momentum = static_cast<float>(config_.momentum),
        .weight_decay = static_cast<float>(*config_.weight_decay),
        .rounding = rounding_of(config_.rounding),
        .noise = {seed_, static_cast<uint32_t>(step.step), slot.index},
    };
    ops::parallel(slot.param.numel(), ops::kGrain,
                  [&](int64_t begin, int64_t end) { kernels::sgd(args, begin, end); });
  }

  OptimizerConfig config_;
  uint64_t seed_;
};

}  // namespace

std::unique_ptr<Optimizer> make_sgd(const OptimizerConfig& config, uint64_t seed) {
  return std::make_unique<Sgd>(config, seed);
}

}  // namespace lowmem::optim
