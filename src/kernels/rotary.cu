// Rotary position embedding. A block a token, a thread eight pairs of a head. Reads and
// writes x once, 4 bytes an element in bf16; the token's angles stay in cache.
#include "device_eights.h"
#include "lowmem/kernels/rotary.h"

namespace lowmem::kernels::LOWMEM_DEVICE {
namespace {

template <class T>
__global__ void turn(RotaryArgs a, T* y, int64_t tokens) {
  const int64_t half = a.head_dim / 2;
  const int of_head = static_cast<int>(ceil_div(half, kEight));
  for_rows_of_block(tokens, [&](int64_t token) {
    const float* cos = a.cos + token * half;
    const float* sin = a.sin + token * half;
    const int eights = static_cast<int>(a.heads) * of_head;
    for (int k = static_cast<int>(threadIdx.x); k < eights;
         k += static_cast<int>(blockDim.x)) {
      const int64_t start = (token * a.heads + k / of_head) * a.head_dim;
      const T* low_from = static_cast<const T*>(a.x.data) + start;
      const T* high_from = low_from + half;
      T* low_to = y + start;
      T* high_to = low_to + half;
      const bool vectors = all_aligned(low_from, high_from, low_to, high_to, cos, sin);
      for_eights(0, half, k % of_head, of_head, vectors, [&](int64_t i, auto lanes) {
        const Eight low = load(low_from + i, lanes), high = load(high_from + i, lanes);
        const Eight c = load(cos + i, lanes);
        Eight s = load(sin + i, lanes);
        if (a.inverse) s = eight_of([&](int j) { return -s.at[j]; });
        store(low_to + i,
              eight_of([&](int j) { return low.at[j] * c.at[j] - high.at[j] * s.at[j]; }),
              lanes);
        store(high_to + i,
              eight_of([&](int j) { return high.at[j] * c.at[j] + low.at[j] * s.at[j]; }),
              lanes);
      });
    }
  });
}

}  // namespace

void rotary(const RotaryArgs& args, Array y, int64_t tokens, Stream stream) {
  const int64_t eights = args.heads * ceil_div(args.head_dim / 2, kEight);
  with_mutable_type(y, [&]<class T>(T* out) {
    launch(turn<T>, grid_of(tokens), threads_for(eights * kEight), stream, args, out,
           tokens);
  });
}

}  // namespace lowmem::kernels::LOWMEM_DEVICE
