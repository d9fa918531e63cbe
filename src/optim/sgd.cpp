#include "lowmem/kernels/sgd.h"

#include <ATen/ATen.h>

#include "lowmem/ops/elements.h"
#include "optimizers.h"

namespace lowmem::optim {
namespace {

class Sgd final : public Optimizer {
 public:
  using Optimizer::Optimizer;

  int64_t state_bytes(const at::Tensor& param) const override {
    return (config_.momentum == 0 ? 0 : 4 * param.numel()) + rounding_bytes(param);
  }

 private:
  UpdateResult apply(ParamSlot& slot, const at::Tensor& grad,
                     const StepInfo& step) override {
    UpdateResult result{ops::squared_norm(grad), {}};
    if (!result.finite()) return result;
    kernels::SgdArgs args{
        .weights = weights_of(slot, step),
        .gradient = ops::const_array_of(grad),
        .buffer = config_.momentum == 0 ? nullptr
                                        : ops::floats_of(state(slot, "momentum_buffer",
                                                               slot.param.sizes())),
        .scale = step.grad_scale,
        .lr = static_cast<float>(step.lr),
        .momentum = static_cast<float>(config_.momentum),
        .weight_decay = static_cast<float>(*config_.weight_decay),
    };
    result.rounding = ops::parallel_update(
        slot.param.numel(), ops::kGrain,
        [&](int64_t begin, int64_t end) { return kernels::sgd(args, begin, end); });
    return result;
  }
};

}  // namespace

std::unique_ptr<Optimizer> make_sgd(const OptimizerConfig& config, uint64_t seed) {
  return std::make_unique<Sgd>(config, seed);
}

}  // namespace lowmem::optim
