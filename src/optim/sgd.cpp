#include "lowmem/kernels/sgd.h"

#include <ATen/ATen.h>

#include "lowmem/ops/device.h"
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
    kernels::SgdArgs args = args_of(slot, grad, weights_of(slot, step));
    args.scale = step.grad_scale;
    args.lr = static_cast<float>(step.lr);
    result.rounding = ops::parallel_update(
        slot.param.numel(), ops::kGrain,
        [&](int64_t begin, int64_t end) { return kernels::sgd(args, begin, end); });
    return result;
  }

  void apply_on_device(ParamSlot& slot, const at::Tensor& grad,
                       const DeviceUpdate& update) override {
    if (!update.measured) measure_on_device(grad, update.squared_norm);
    kernels::cuda::sgd(args_of(slot, grad, weights_of(slot, {})), grad.numel(),
                       pending_of(update), report_of(update), ops::stream_of(grad));
  }

  // All but what changes from step to step.
  kernels::SgdArgs args_of(ParamSlot& slot, const at::Tensor& grad,
                           const kernels::ParamView& weights) const {
    float* buffer = nullptr;
    if (config_.momentum != 0)
      buffer = ops::floats_of(state(slot, "momentum_buffer", slot.param.sizes()));
    return {.weights = weights,
            .gradient = ops::const_array_of(grad),
            .buffer = buffer,
            .momentum = static_cast<float>(config_.momentum),
            .weight_decay = static_cast<float>(*config_.weight_decay)};
  }
};

}  // namespace

std::unique_ptr<Optimizer> make_sgd(const OptimizerConfig& config, uint64_t seed) {
  return std::make_unique<Sgd>(config, seed);
}

}  // namespace lowmem::optim
