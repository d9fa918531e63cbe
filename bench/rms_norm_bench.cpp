#include "compare.h"
#include "lowmem/kernels/rms_norm.h"
#include "lowmem/ops/elements.h"

namespace lowmem::bench {
namespace {

constexpr float kEps = 1e-5f;

struct Forward {
  explicit Forward(at::ScalarType dtype)
      : x(normal({kTokens, kHidden}, dtype)),
        weight(normal({kHidden}, dtype)),
        y(at::empty_like(x)) {}

  kernels::RmsNormArgs args() const {
    return {ops::const_array_of(x), ops::const_array_of(weight), kHidden, kEps};
  }
  void kernel() { kernels::rms_norm(args(), ops::array_of(y), 0, kTokens); }
  void aten() { y = at::rms_norm(x, {kHidden}, weight, kEps); }
  int64_t bytes() const { return static_cast<int64_t>(x.nbytes() + y.nbytes()); }

  at::Tensor x, weight, y;
};

struct Backward : Forward {
  explicit Backward(at::ScalarType dtype)
      : Forward(dtype), dy(normal({kTokens, kHidden}, dtype)), dx(at::empty_like(x)) {}

  void kernel() {
    kernels::rms_norm_backward(args(), ops::const_array_of(dy), ops::array_of(dx),
                               ops::floats_of(dweight), 0, kTokens);
  }
  void aten() {
    const at::Tensor wide = x.to(at::kFloat), g = dy.to(at::kFloat);
    const at::Tensor scale = wide.square().mean(1, /*keepdim=*/true).add_(kEps).rsqrt_();
    const at::Tensor h = wide * scale, dh = g * weight;
    dx = (dh - h * (dh * h).mean(1, /*keepdim=*/true)).mul_(scale).to(x.scalar_type());
    dweight.add_((g * h).sum(0));
  }
  int64_t bytes() const { return static_cast<int64_t>(3 * x.nbytes()); }

  at::Tensor dy, dx;
  at::Tensor dweight = at::zeros({kHidden}, at::kFloat);
};

[[maybe_unused]] const bool registered =
    compare<Forward>("rms_norm") && compare<Backward>("rms_norm_backward");

}  // namespace
}  // namespace lowmem::bench
