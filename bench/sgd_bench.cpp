#include "compare.h"
#include "lowmem/kernels/sgd.h"
#include "lowmem/ops/elements.h"

namespace lowmem::bench {
namespace {

// With momentum.
struct Sgd {
  explicit Sgd(at::ScalarType dtype)
      : weights(normal({kIntermediate, kHidden}, dtype, 0.02)),
        gradient(normal({kIntermediate, kHidden}, dtype)),
        buffer(at::zeros({kIntermediate, kHidden}, at::kFloat)) {}

  void kernel() {
    kernels::SgdArgs args;
    args.weights = ops::weights_of(weights);
    args.weights.rounding = kernels::Rounding::kStochastic;
    args.gradient = ops::const_array_of(gradient);
    args.buffer = ops::floats_of(buffer);
    args.lr = kRate;
    args.momentum = kMomentum;
    kernels::sgd(args, 0, weights.numel());
  }
  void aten() {
    buffer.mul_(kMomentum).add_(gradient);
    subtract(weights, buffer * kRate);
  }
  int64_t bytes() const {
    return static_cast<int64_t>(2 * weights.nbytes() + gradient.nbytes() +
                                2 * buffer.nbytes());
  }

  static constexpr float kRate = 1e-6f, kMomentum = 0.9f;
  at::Tensor weights, gradient, buffer;
};

[[maybe_unused]] const bool registered = compare<Sgd>("sgd");

}  // namespace
}  // namespace lowmem::bench
