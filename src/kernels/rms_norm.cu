// RMS norm. A block a row, of as many threads as it has eights, at most 256. The row is
// read twice, the second time from cache: x and y once from memory, 4 bytes an element in
// bf16. Backward reads x and dy, writes dx: 6 bytes. The weight's gradient goes over x
// and dy once more, with the rows' inverse roots kept from the first pass.
#include "device_columns.h"
#include "lowmem/kernels/rms_norm.h"

namespace lowmem::kernels::LOWMEM_DEVICE {
namespace {

Tiles tiles_of(int64_t rows, int64_t columns) { return {rows, columns, 128}; }

__device__ float inverse_of(double sum_of_squares, const RmsNormArgs& a) {
  const double mean = sum_of_squares / static_cast<double>(a.columns);
  return 1.0f / sqrtf(static_cast<float>(mean + static_cast<double>(a.eps)));
}

template <class X, class W, class Y>
__global__ void forward(RmsNormArgs a, const X* x, const W* weight, Y* y, int64_t rows) {
  for_rows_of_block(rows, [&](int64_t row) {
    const X* in = x + row * a.columns;
    Y* out = y + row * a.columns;
    const bool vectors = all_aligned(in, weight, out);
    double squares = 0;
    for_eights_of_block(0, a.columns, vectors, [&](int64_t i, auto lanes) {
      const Eight value = load(in + i, lanes);
      squares += sum(eight_of([&](int k) { return value.at[k] * value.at[k]; }));
    });
    const float inverse = inverse_of(block_sum(squares), a);
    for_eights_of_block(0, a.columns, vectors, [&](int64_t i, auto lanes) {
      const Eight value = load(in + i, lanes), factor = load(weight + i, lanes);
      store(out + i,
            eight_of([&](int k) { return value.at[k] * inverse * factor.at[k]; }), lanes);
    });
  });
}

// dx, unless it is null, and the rows' inverse roots, unless those are.
template <class X, class W, class Y>
__global__ void backward(RmsNormArgs a, const X* x, const W* weight, const Y* dy, X* dx,
                         float* inverses, int64_t rows) {
  for_rows_of_block(rows, [&](int64_t row) {
    const X* in = x + row * a.columns;
    const Y* out = dy + row * a.columns;
    X* to = dx == nullptr ? nullptr : dx + row * a.columns;
    const bool vectors = all_aligned(in, weight, out, to);
    double squares = 0, products = 0;
    for_eights_of_block(0, a.columns, vectors, [&](int64_t i, auto lanes) {
      const Eight value = load(in + i, lanes), gradient = load(out + i, lanes);
      const Eight factor = load(weight + i, lanes);
      squares += sum(eight_of([&](int k) { return value.at[k] * value.at[k]; }));
      products += sum(
          eight_of([&](int k) { return gradient.at[k] * factor.at[k] * value.at[k]; }));
    });
    const float inverse = inverse_of(block_sum(squares), a);
    const float share = static_cast<float>(block_sum(products) * inverse * inverse /
                                           static_cast<double>(a.columns));
    if (inverses != nullptr && threadIdx.x == 0) inverses[row] = inverse;
    if (to == nullptr) return;
    for_eights_of_block(0, a.columns, vectors, [&](int64_t i, auto lanes) {
      const Eight value = load(in + i, lanes), gradient = load(out + i, lanes);
      const Eight factor = load(weight + i, lanes);
      store(to + i, eight_of([&](int k) {
              return (gradient.at[k] * factor.at[k] - value.at[k] * share) * inverse;
            }),
            lanes);
    });
  });
}

// Sums of dy h over each group of rows.
template <class X, class Y>
__global__ void weight_gradient(Tiles tiles, const X* x, const Y* dy,
                                const float* inverses, float* groups) {
  const bool even = tiles.columns % kEight == 0;
  const bool vectors = even && all_aligned(x, dy, groups);
  for_rows_of_block(tiles.count(), [&](int64_t k) {
    const OwnTile tile(tiles, k);
    tile.with_lanes(vectors, [&](auto lanes) {
      Eight sums{};
      struct Row {
        Eight value, gradient;
        float inverse;
      };
      read_ahead<4>(
          tile.first_row, tile.last_row, 1,
          [&](int64_t row) {
            const int64_t i = row * tiles.columns + tile.column;
            return Row{load(x + i, lanes), load(dy + i, lanes), inverses[row]};
          },
          [&](int64_t, const Row& row) {
            sums = eight_of([&](int j) {
              return sums.at[j] + row.gradient.at[j] * (row.value.at[j] * row.inverse);
            });
          });
      store(groups + tile.group * tiles.columns + tile.column, sums, lanes);
    });
  });
}

}  // namespace

void rms_norm(const RmsNormArgs& args, Array y, int64_t rows, Stream stream) {
  with_type(args.x, [&]<class X>(const X* x) {
    with_type(args.weight, [&]<class W>(const W* weight) {
      with_mutable_type(y, [&]<class Y>(Y* out) {
        launch(forward<X, W, Y>, grid_of(rows), threads_for(args.columns), stream, args,
               x, weight, out, rows);
      });
    });
  });
}

int64_t rms_norm_workspace(int64_t rows, int64_t columns) {
  return ceil_div(rows, kEight) * kEight + tiles_of(rows, columns).groups * columns;
}

void rms_norm_backward(const RmsNormArgs& args, ConstArray dy, Array dx, float* dweight,
                       float* workspace, int64_t rows, Stream stream) {
  if (rows == 0) return;
  float* inverses = dweight == nullptr ? nullptr : workspace;
  float* groups = workspace + ceil_div(rows, kEight) * kEight;  // aligned
  const int threads = threads_for(args.columns);
  with_type(args.x, [&]<class X>(const X* x) {
    with_type(dy, [&]<class Y>(const Y* out) {
      with_type(args.weight, [&]<class W>(const W* weight) {
        launch(backward<X, W, Y>, grid_of(rows), threads, stream, args, x, weight, out,
               static_cast<X*>(dx.data), inverses, rows);
      });
      if (dweight == nullptr) return;
      const Tiles tiles = tiles_of(rows, args.columns);
      launch(weight_gradient<X, Y>, grid_of(tiles.count()), threads, stream, tiles, x,
             out, inverses, groups);
      sum_groups<true>(groups, tiles, dweight, stream);
    });
  });
}

}  // namespace lowmem::kernels::LOWMEM_DEVICE
