// SwiGLU. A block a row, of as many threads as it has eights, at most 256. In bf16 6
// bytes an element forward (gate, up, y), 12 backward (all three read and written).
#include "device_eights.h"
#include "device_exponential.h"
#include "lowmem/kernels/swiglu.h"

namespace lowmem::kernels::LOWMEM_DEVICE {
namespace {

template <class T>
__global__ void forward(SwigluArgs a, T* y, int64_t y_stride, int64_t rows) {
  for_rows_of_block(rows, [&](int64_t row) {
    const int64_t start = row * a.stride + a.first;
    const T* gate = static_cast<const T*>(a.gate.data) + start;
    const T* up = static_cast<const T*>(a.up.data) + start;
    T* out = y + row * y_stride;
    const bool vectors = all_aligned(gate, up, out);
    for_eights_of_block(0, a.columns, vectors, [&](int64_t i, auto lanes) {
      const Eight g = load(gate + i, lanes), u = load(up + i, lanes);
      store(out + i,
            eight_of([&](int k) { return g.at[k] * sigmoid(g.at[k]) * u.at[k]; }), lanes);
    });
  });
}

template <class T>
__global__ void backward(SwigluArgs a, T* dy, int64_t rows) {
  for_rows_of_block(rows, [&](int64_t row) {
    const int64_t start = row * a.stride + a.first;
    T* gate = static_cast<T*>(a.gate.data) + start;
    T* up = static_cast<T*>(a.up.data) + start;
    T* gradient = dy + row * a.columns;
    const bool vectors = all_aligned(gate, up, gradient);
    for_eights_of_block(0, a.columns, vectors, [&](int64_t i, auto lanes) {
      const Eight g = load(gate + i, lanes), u = load(up + i, lanes);
      const Eight d = load(gradient + i, lanes);
      const Eight s = eight_of([&](int k) { return sigmoid(g.at[k]); });
      const Eight silu = eight_of([&](int k) { return g.at[k] * s.at[k]; });
      store(gate + i, eight_of([&](int k) {
              return d.at[k] * u.at[k] * (s.at[k] * (1.0f + g.at[k] * (1.0f - s.at[k])));
            }),
            lanes);
      store(up + i, eight_of([&](int k) { return d.at[k] * silu.at[k]; }), lanes);
      store(gradient + i, eight_of([&](int k) { return silu.at[k] * u.at[k]; }), lanes);
    });
  });
}

}  // namespace

void swiglu(const SwigluArgs& args, Array y, int64_t y_stride, int64_t rows,
            Stream stream) {
  with_mutable_type(y, [&]<class T>(T* out) {
    launch(forward<T>, grid_of(rows), threads_for(args.columns), stream, args, out,
           y_stride, rows);
  });
}

void swiglu_backward(const SwigluArgs& args, Array dy, int64_t rows, Stream stream) {
  with_mutable_type(dy, [&]<class T>(T* out) {
    launch(backward<T>, grid_of(rows), threads_for(args.columns), stream, args, out,
           rows);
  });
}

}  // namespace lowmem::kernels::LOWMEM_DEVICE
