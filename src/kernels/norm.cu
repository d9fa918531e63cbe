// The squared norm of a gradient. Reads each element once, 16 bytes at a time: 2 or 4
// bytes an element. A block of 256 threads a piece, two eights a thread; one more block
// adds the pieces up in order.
#include "device_eights.h"
#include "lowmem/kernels/norm.h"

namespace lowmem::kernels::LOWMEM_DEVICE {
namespace {

// `gradient`: of element `begin`.
template <class T>
__global__ void sum_pieces(const T* gradient, int64_t begin, int64_t end,
                           double* pieces) {
  const bool vectors = all_aligned(gradient);
  const int64_t first = begin / kNormPiece;
  gradient -= begin;
  for_rows_of_block(norm_pieces(end - begin), [&](int64_t k) {
    const int64_t from = begin + k * kNormPiece;
    const int64_t to = from + kNormPiece < end ? from + kNormPiece : end;
    double sum = 0;
    for_eights_of_block(from, to, vectors, [&](int64_t i, auto lanes) {
      const Eight x = load(gradient + i, lanes);
      LOWMEM_UNROLL
      for (int j = 0; j < kEight; ++j) {
        const double wide = x.at[j];
        sum += wide * wide;
      }
    });
    const double total = block_sum(sum);
    if (threadIdx.x == 0) pieces[first + k] = total;
  });
}

__global__ void add_pieces(const double* pieces, int64_t count, double* sum) {
  const double total = sum_over_block(pieces, count);
  if (threadIdx.x == 0) *sum += total;
}

}  // namespace

void squared_norms(const ConstArray& gradient, int64_t begin, int64_t end, double* pieces,
                   Stream stream) {
  with_type(gradient, [&]<class T>(const T* elements) {
    launch(sum_pieces<T>, grid_of(norm_pieces(end - begin)), kMostThreads, stream,
           elements + begin, begin, end, pieces);
  });
}

void add_squared_norms(const double* pieces, int64_t count, double* sum, Stream stream) {
  if (count == 0) return;
  launch(add_pieces, 1, kMostThreads, stream, pieces, count, sum);
}

}  // namespace lowmem::kernels::LOWMEM_DEVICE
