#include "lowmem/kernels/rms_norm.h"

#include <cmath>

#include "vector.h"

namespace lowmem::kernels {
namespace LOWMEM_ISA {
namespace {

float inverse_of(double sum_of_squares, const RmsNormArgs& a) {
  const double mean = sum_of_squares / static_cast<double>(a.columns);
  return static_cast<float>(1 / std::sqrt(mean + static_cast<double>(a.eps)));
}

template <class X, class W, class Y>
void forward(const RmsNormArgs& a, const X* x, const W* weight, Y* y, int64_t begin,
             int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const X* in = x + row * a.columns;
    DoubleSum squares;
    for_lanes(0, a.columns, [&](int64_t i, auto lanes) {
      const Float16 value = load(in + i, lanes);
      squares.add(value * value);
    });
    const float inverse = inverse_of(squares.total(), a);
    for_lanes(0, a.columns, [&](int64_t i, auto lanes) {
      store(y + row * a.columns + i,
            load(in + i, lanes) * inverse * load(weight + i, lanes), lanes);
    });
  }
}

template <class X, class W, class Y>
void backward(const RmsNormArgs& a, const X* x, const W* weight, const Y* dy, X* dx,
              float* dweight, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const X* in = x + row * a.columns;
    const Y* out = dy + row * a.columns;
    DoubleSum squares, products;
    for_lanes(0, a.columns, [&](int64_t i, auto lanes) {
      const Float16 value = load(in + i, lanes);
      squares.add(value * value);
      products.add(load(out + i, lanes) * load(weight + i, lanes) * value);
    });
    const float inverse = inverse_of(squares.total(), a);
    const float share = static_cast<float>(products.total() * inverse * inverse /
                                           static_cast<double>(a.columns));
    for_lanes(0, a.columns, [&](int64_t i, auto lanes) {
      const Float16 value = load(in + i, lanes), gradient = load(out + i, lanes);
      if (dx != nullptr)
        store(dx + row * a.columns + i,
              (gradient * load(weight + i, lanes) - value * share) * inverse, lanes);
      if (dweight != nullptr)
        store(dweight + i, load(dweight + i, lanes) + gradient * (value * inverse),
              lanes);
    });
  }
}

}  // namespace

void rms_norm(const RmsNormArgs& args, Array y, int64_t begin, int64_t end) {
  with_type(args.x, [&](const auto* x) {
    with_type(args.weight, [&](const auto* weight) {
      with_mutable_type(y, [&](auto* out) { forward(args, x, weight, out, begin, end); });
    });
  });
}

void rms_norm_backward(const RmsNormArgs& args, ConstArray dy, Array dx, float* dweight,
                       int64_t begin, int64_t end) {
  with_type(args.x, [&](const auto* x) {
    using X = std::remove_cvref_t<decltype(*x)>;
    with_type(args.weight, [&](const auto* weight) {
      with_type(dy, [&](const auto* out) {
        backward(args, x, weight, out, static_cast<X*>(dx.data), dweight, begin, end);
      });
    });
  });
}

}  // namespace LOWMEM_ISA

LOWMEM_DISPATCH(void, rms_norm,
                (const RmsNormArgs& args, Array y, int64_t begin, int64_t end),
                (args, y, begin, end))
LOWMEM_DISPATCH(void, rms_norm_backward,
                (const RmsNormArgs& args, ConstArray dy, Array dx, float* dweight,
                 int64_t begin, int64_t end),
                (args, dy, dx, dweight, begin, end))

}  // namespace lowmem::kernels
