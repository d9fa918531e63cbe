#include "compare.h"
#include "lowmem/kernels/rotary.h"
#include "lowmem/ops/elements.h"

namespace lowmem::bench {
namespace {

struct Rotary {
  explicit Rotary(at::ScalarType dtype)
      : x(normal({kTokens, kHeads, kHeadDim}, dtype)), y(at::empty_like(x)) {
    const at::Tensor angles = at::rand({kTokens, kHeadDim / 2}, at::kFloat);
    cos = angles.cos();
    sin = angles.sin();
    wide_cos = at::cat({cos, cos}, 1).unsqueeze(1).to(dtype);
    wide_sin = at::cat({sin, sin}, 1).unsqueeze(1).to(dtype);
  }

  void kernel() {
    const kernels::RotaryArgs args{ops::const_array_of(x), cos.const_data_ptr<float>(),
                                   sin.const_data_ptr<float>(), kHeads, kHeadDim};
    kernels::rotary(args, ops::array_of(y), 0, kTokens);
  }
  // As transformers writes it.
  void aten() {
    const std::vector<at::Tensor> halves = x.chunk(2, -1);
    y = x * wide_cos + at::cat({-halves[1], halves[0]}, -1) * wide_sin;
  }
  int64_t bytes() const { return static_cast<int64_t>(x.nbytes() + y.nbytes()); }

  at::Tensor x, y, cos, sin, wide_cos, wide_sin;
};

[[maybe_unused]] const bool registered = compare<Rotary>("rotary");

}  // namespace
}  // namespace lowmem::bench
