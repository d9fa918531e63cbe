#include "compare.h"
#include "lowmem/kernels/adam.h"
#include "lowmem/ops/elements.h"

namespace lowmem::bench {
namespace {

// With fp32 averages; ATen's side is torch.optim's.
struct Adam {
  explicit Adam(at::ScalarType dtype)
      : weights(normal({kIntermediate, kHidden}, dtype, 0.02)),
        gradient(normal({kIntermediate, kHidden}, dtype)),
        mean(at::zeros({kIntermediate, kHidden}, at::kFloat)),
        mean_square(at::zeros_like(mean)) {}

  void kernel() {
    kernels::AdamArgs args;
    args.weights = ops::weights_of(weights);
    args.weights.rounding = kernels::Rounding::kStochastic;
    args.gradient = ops::const_array_of(gradient);
    args.mean = {mean.mutable_data_ptr(), DType::kF32, {}};
    args.mean_square = {mean_square.mutable_data_ptr(), DType::kF32, {}};
    args.mean_rate = kMeanRate;
    args.beta2 = kBeta2;
    args.square_rate = kSquareRate;
    args.eps = kEps;
    args.step_size = kStepSize;
    args.root = kRoot;
    kernels::adam(args, 0, weights.numel());
  }
  void aten() {
    const at::Tensor g = gradient.to(at::kFloat);
    mean.lerp_(g, kMeanRate);
    mean_square.mul_(kBeta2).addcmul_(g, g, kSquareRate);
    const at::Tensor denominator = mean_square.sqrt().div_(kRoot).add_(kEps);
    if (weights.scalar_type() == at::kFloat)
      weights.addcdiv_(mean, denominator, -kStepSize);
    else
      subtract(weights, (mean / denominator).mul_(kStepSize));
  }
  int64_t bytes() const {
    return static_cast<int64_t>(2 * weights.nbytes() + gradient.nbytes() +
                                2 * mean.nbytes() + 2 * mean_square.nbytes());
  }

  static constexpr float kMeanRate = 0.1f, kBeta2 = 0.999f, kSquareRate = 0.001f;
  static constexpr float kEps = 1e-8f, kStepSize = 3e-6f, kRoot = 0.5f;
  at::Tensor weights, gradient, mean, mean_square;
};

[[maybe_unused]] const bool registered = compare<Adam>("adam");

}  // namespace
}  // namespace lowmem::bench
