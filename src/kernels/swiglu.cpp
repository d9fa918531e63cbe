#include "lowmem/kernels/swiglu.h"

#include "vector.h"

namespace lowmem::kernels {
namespace LOWMEM_ISA {
namespace {

LOWMEM_INLINE Float16 sigmoid(Float16 x) { return 1.0f / (1.0f + exponential(-x)); }

}  // namespace

void swiglu(const SwigluArgs& a, Array y, int64_t y_stride, int64_t begin, int64_t end) {
  with_mutable_type(y, [&](auto* out) {
    using T = decltype(out);
    for (int64_t row = begin; row < end; ++row) {
      const T gate = static_cast<T>(a.gate.data) + row * a.stride + a.first;
      const T up = static_cast<T>(a.up.data) + row * a.stride + a.first;
      for_lanes(0, a.columns, [&](int64_t i, auto lanes) {
        const Float16 g = load(gate + i, lanes);
        store(out + row * y_stride + i, g * sigmoid(g) * load(up + i, lanes), lanes);
      });
    }
  });
}

void swiglu_backward(const SwigluArgs& a, Array dy, int64_t begin, int64_t end) {
  with_mutable_type(dy, [&](auto* out) {
    using T = decltype(out);
    for (int64_t row = begin; row < end; ++row) {
      const T gate = static_cast<T>(a.gate.data) + row * a.stride + a.first;
      const T up = static_cast<T>(a.up.data) + row * a.stride + a.first;
      const T gradient = out + row * a.columns;
      for_lanes(0, a.columns, [&](int64_t i, auto lanes) {
        const Float16 g = load(gate + i, lanes), u = load(up + i, lanes);
        const Float16 d = load(gradient + i, lanes);
        const Float16 s = sigmoid(g), silu = g * s;
        store(gate + i, d * u * (s * (1.0f + g * (1.0f - s))), lanes);
        store(up + i, d * silu, lanes);
        store(gradient + i, silu * u, lanes);
      });
    }
  });
}

}  // namespace LOWMEM_ISA

LOWMEM_DISPATCH(void, swiglu,
                (const SwigluArgs& args, Array y, int64_t y_stride, int64_t begin,
                 int64_t end),
                (args, y, y_stride, begin, end))
LOWMEM_DISPATCH(void, swiglu_backward,
                (const SwigluArgs& args, Array dy, int64_t begin, int64_t end),
                (args, dy, begin, end))

}  // namespace lowmem::kernels
