// The squared norm of a gradient. Reads each element once, 16 bytes at a time: 2 or 4
// bytes an element. At most 1024 blocks of 256 threads, each of which sums a piece; one
// more block adds the pieces up in order.
#include "device_eights.h"
#include "lowmem/kernels/norm.h"

namespace lowmem::kernels::LOWMEM_DEVICE {
namespace {

constexpr int64_t kOfBlock =
    kEight * kMostThreads;  // elements that a block reads at once

// Elements of a piece: the sum of each, and with it the result, follows from `count`
// alone.
int64_t piece_of(int64_t count) {
  return ceil_div(ceil_div(count, kSquaredNormWorkspace), kOfBlock) * kOfBlock;
}

template <class T>
__global__ void sum_pieces(const T* gradient, int64_t count, int64_t piece,
                           double* pieces) {
  const bool vectors = all_aligned(gradient);
  for_rows_of_block(ceil_div(count, piece), [&](int64_t k) {
    const int64_t begin = k * piece;
    const int64_t end = begin + piece < count ? begin + piece : count;
    double sum = 0;
    for_eights_of_block(begin, end, vectors, [&](int64_t i, auto lanes) {
      const Eight x = load(gradient + i, lanes);
      LOWMEM_UNROLL
      for (int j = 0; j < kEight; ++j) {
        const double wide = x.at[j];
        sum += wide * wide;
      }
    });
    const double total = block_sum(sum);
    if (threadIdx.x == 0) pieces[k] = total;
  });
}

__global__ void add_pieces(const double* pieces, int64_t count, double* sum) {
  const double total = sum_over_block(pieces, count);
  if (threadIdx.x == 0) *sum += total;
}

}  // namespace

void squared_norm(const ConstArray& gradient, int64_t count, double* sum,
                  double* workspace, Stream stream) {
  if (count == 0) return;
  const int64_t piece = piece_of(count), pieces = ceil_div(count, piece);
  with_type(gradient, [&]<class T>(const T* elements) {
    launch(sum_pieces<T>, grid_of(pieces), kMostThreads, stream, elements, count, piece,
           workspace);
  });
  launch(add_pieces, 1, kMostThreads, stream, workspace, pieces, sum);
}

}  // namespace lowmem::kernels::LOWMEM_DEVICE
