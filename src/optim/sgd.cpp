#include "lowmem/kernels/sgd.h"

#include <ATen/ATen.h>

#include "lowmem/ops/device.h"
#include "lowmem/ops/elements.h"
#include "optimizers.h"

namespace lowmem::optim {
namespace {

constexpr const char* kBuffer = "momentum_buffer";

class Sgd final : public Optimizer {
 public:
  using Optimizer::Optimizer;

 private:
  std::vector<weights::StateSpec> rule_states(
      const weights::Weight& weight) const override {
    if (numbers_.momentum == 0) return {};
    return {{kBuffer, weight.spec.shape}};
  }

  UpdateResult apply(weights::Weight& weight, const Passes& passes,
                     const StepInfo& step) override {
    UpdateResult result{passes.squared_norm(), {}};
    if (!result.finite()) return result;
    passes.each(weights::Access::kWrite, [&](const Passes::Piece& piece) {
      kernels::SgdArgs args = args_of(weight, piece.gradient, weights_of(weight, step));
      args.scale = step.grad_scale;
      args.lr = static_cast<float>(step.lr);
      result.rounding += ops::parallel_update(
          piece.end - piece.begin, ops::kGrain, [&](int64_t begin, int64_t end) {
            return kernels::sgd(args, piece.begin + begin, piece.begin + end);
          });
    });
    return result;
  }

  void apply_on_device(weights::Weight& weight, const Passes& passes,
                       const DeviceUpdate& update) override {
    if (!update.measured) passes.add_squared_norm(update.squared_norm);
    passes.each(weights::Access::kWrite, [&](const Passes::Piece& piece) {
      kernels::cuda::sgd(args_of(weight, piece.gradient, weights_of(weight, {})),
                         piece.begin, piece.end, pending_of(update), report_of(update),
                         ops::stream_of(weight.here));
    });
  }

  // All but what changes from step to step.
  kernels::SgdArgs args_of(weights::Weight& weight, const kernels::ConstArray& gradient,
                           const kernels::ParamView& view) const {
    float* buffer = nullptr;
    if (numbers_.momentum != 0) buffer = ops::floats_of(weight.beside.at(kBuffer));
    return {.weights = view,
            .gradient = gradient,
            .buffer = buffer,
            .momentum = static_cast<float>(numbers_.momentum),
            .weight_decay = static_cast<float>(numbers_.weight_decay)};
  }
};

}  // namespace

std::unique_ptr<Optimizer> make_sgd(const RuleNumbers& numbers, uint64_t seed) {
  return std::make_unique<Sgd>(numbers, seed);
}

}  // namespace lowmem::optim
