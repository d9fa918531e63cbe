#include "lowmem/optim/optimizer.h"

#include <ATen/ATen.h>

#include "optimizers.h"

namespace lowmem::optim {

void Optimizer::update(ParamSlot& slot, const at::Tensor& grad, const StepInfo& step) {
  const at::NoGradGuard no_grad;
  apply(slot, grad.contiguous(), step);
  ++slot.updates;
  // Kernels write past autograd's back; a graph that still needs the old weights must
  // fail.
  slot.param.unsafeGetTensorImpl()->bump_version();
}

at::Tensor& Optimizer::state(ParamSlot& slot, const std::string& name,
                             at::IntArrayRef shape) {
  at::Tensor& tensor = slot.state[name];
  if (!tensor.defined())
    tensor = at::zeros(shape, at::TensorOptions(at::kFloat).device(slot.param.device()));
  return tensor;
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
