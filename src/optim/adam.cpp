#include "lowmem/kernels/adam.h"

#include <ATen/ATen.h>

#include <cmath>

#include "lowmem/ops/device.h"
#include "lowmem/ops/dtype.h"
#include "lowmem/ops/elements.h"
#include "optimizers.h"

namespace lowmem::optim {
namespace {

constexpr const char* kMean = "exp_avg";
constexpr const char* kMeanSquare = "exp_avg_sq";

// Adam and AdamW: they differ in where weight decay enters.
class Adam final : public Optimizer {
 public:
  Adam(const RuleNumbers& numbers, bool decoupled, uint64_t seed)
      : Optimizer(numbers, seed), decoupled_(decoupled) {}

  // The factors of the run's update `step`. A step that was skipped, whole or for a
  // weight, counts as well: a device does not know of it.
  kernels::StepNumbers step_numbers(const StepInfo& step) const override {
    const double t = static_cast<double>(step.step + 1);
    kernels::StepNumbers numbers = Optimizer::step_numbers(step);
    numbers.step_size = static_cast<float>(step.lr / (1 - std::pow(numbers_.beta1, t)));
    numbers.root = static_cast<float>(std::sqrt(1 - std::pow(numbers_.beta2, t)));
    if (decoupled_)
      numbers.decoupled_keep = static_cast<float>(1 - step.lr * numbers_.weight_decay);
    return numbers;
  }

 private:
  void make_state(weights::Weight& weight) const override {
    for (const char* name : {kMean, kMeanSquare})
      keep(weight, name, weight.spec.shape,
           numbers_.state == StateType::kF32 ? at::kFloat : at::kBFloat16);
  }

  UpdateResult apply(weights::Weight& weight, const at::Tensor& grad,
                     const StepInfo& step) override {
    UpdateResult result{ops::squared_norm(grad), {}};
    if (!result.finite()) return result;
    kernels::AdamArgs args = args_of(weight, grad, step);
    args.scale = step.grad_scale;
    const kernels::StepNumbers now = step_numbers(step);
    args.step_size = now.step_size;
    args.root = now.root;
    args.decoupled_keep = now.decoupled_keep;
    result.rounding = ops::parallel_update(
        weight.here.numel(), ops::kGrain,
        [&](int64_t begin, int64_t end) { return kernels::adam(args, begin, end); });
    return result;
  }

  void apply_on_device(weights::Weight& weight, const at::Tensor& grad,
                       const DeviceUpdate& update) override {
    if (!update.measured) measure_on_device(grad, update.squared_norm);
    kernels::cuda::adam(args_of(weight, grad, {}), grad.numel(), pending_of(update),
                        report_of(update), ops::stream_of(grad));
  }

  // All but the factors.
  kernels::AdamArgs args_of(weights::Weight& weight, const at::Tensor& grad,
                            const StepInfo& step) const {
    return {
        .weights = weights_of(weight, step),
        .gradient = ops::const_array_of(grad),
        .mean = average(weight, kMean, kMeanNoise, step),
        .mean_square = average(weight, kMeanSquare, kSquareNoise, step),
        .mean_rate = static_cast<float>(1 - numbers_.beta1),
        .beta2 = static_cast<float>(numbers_.beta2),
        .square_rate = static_cast<float>(1 - numbers_.beta2),
        .eps = static_cast<float>(numbers_.eps),
        .coupled_decay = decoupled_ ? 0.0f : static_cast<float>(numbers_.weight_decay)};
  }

  // A bf16 average has noise of its own: the upper bits of the parameter's number tell
  // the streams apart.
  static constexpr uint32_t kMeanNoise = 0x80000000, kSquareNoise = 0x40000000;

  kernels::State average(weights::Weight& weight, const char* name, uint32_t stream,
                         const StepInfo& step) const {
    at::Tensor& tensor = weight.beside.at(name);
    return {tensor.mutable_data_ptr(),
            ops::dtype_of(tensor),
            {seed_, static_cast<uint32_t>(step.step), weight.index | stream}};
  }

  bool decoupled_;
};

}  // namespace

std::unique_ptr<Optimizer> make_adam(const RuleNumbers& numbers, bool decoupled,
                                     uint64_t seed) {
  return std::make_unique<Adam>(numbers, decoupled, seed);
}

}  // namespace lowmem::optim
