#include "compare.h"
#include "lowmem/kernels/swiglu.h"
#include "lowmem/ops/elements.h"

namespace lowmem::bench {
namespace {

struct Forward {
  explicit Forward(at::ScalarType dtype)
      : gate(normal({kTokens, kIntermediate}, dtype)),
        up(normal({kTokens, kIntermediate}, dtype)),
        y(at::empty_like(gate)) {}

  kernels::SwigluArgs args() {
    kernels::SwigluArgs args;
    args.gate = ops::array_of(gate);
    args.up = ops::array_of(up);
    args.stride = args.columns = kIntermediate;
    return args;
  }
  void kernel() { kernels::swiglu(args(), ops::array_of(y), kIntermediate, 0, kTokens); }
  void aten() { y = at::silu(gate).mul_(up); }
  int64_t bytes() const { return static_cast<int64_t>(3 * gate.nbytes()); }

  at::Tensor gate, up, y;
};

struct Backward : Forward {
  explicit Backward(at::ScalarType dtype)
      : Forward(dtype),
        gate_before(gate.clone()),
        up_before(up.clone()),
        dy_before(normal({kTokens, kIntermediate}, dtype)),
        dy(dy_before.clone()) {}

  void reset() {
    gate.copy_(gate_before);
    up.copy_(up_before);
    dy.copy_(dy_before);
  }
  void kernel() { kernels::swiglu_backward(args(), ops::array_of(dy), 0, kTokens); }
  void aten() {
    const at::Tensor silu = at::silu(gate);
    benchmark::DoNotOptimize(at::silu_backward(dy * up, gate));
    benchmark::DoNotOptimize(dy * silu);
    benchmark::DoNotOptimize(silu * up);
  }
  int64_t bytes() const { return static_cast<int64_t>(6 * gate.nbytes()); }

  at::Tensor gate_before, up_before, dy_before, dy;
};

[[maybe_unused]] const bool registered =
    compare<Forward>("swiglu") && compare<Backward>("swiglu_backward");

}  // namespace
}  // namespace lowmem::bench
