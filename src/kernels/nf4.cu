// Matrices in 4 bits, eight elements a thread, blocks of 256. Back to bf16 2.5 bytes an
// element and the scales; eight threads share a scale. The mean of scales is one block's
// work: it reads a 16th of a byte for each element of the matrix.
#include "device_codes.h"
#include "lowmem/kernels/nf4.h"
#include "quantized_levels.h"

namespace lowmem::kernels::LOWMEM_DEVICE {
namespace {

static_assert(kNf4Block % kEight == 0 && kNf4Nested == kEight * kWarp &&
              kMeanSums == kMostThreads);

// In the device's memory, of which the first-level cache keeps what is used.
__device__ constexpr Nf4Table kNf4;
__device__ constexpr AbsmaxTable kAbsmax;

struct alignas(4) [[gnu::may_alias]] FourBytes {
  uint32_t word;
};

// Eight codes as four bytes, the first in the lowest.
template <class Lanes>
__device__ uint32_t load_pairs(const uint8_t* from, bool vectors, Lanes lanes) {
  if (vectors && in_use(0, lanes) && in_use(kEight - 1, lanes))
    return reinterpret_cast<const FourBytes*>(from)->word;
  uint32_t pairs = 0;
  LOWMEM_UNROLL
  for (int k = 0; k < kEight / 2; ++k)
    if (in_use(2 * k, lanes)) pairs |= static_cast<uint32_t>(from[k]) << (8 * k);
  return pairs;
}
template <class Lanes>
__device__ void store_pairs(uint8_t* to, uint32_t pairs, bool vectors, Lanes lanes) {
  if (vectors && in_use(0, lanes) && in_use(kEight - 1, lanes)) {
    reinterpret_cast<FourBytes*>(to)->word = pairs;
    return;
  }
  LOWMEM_UNROLL
  for (int k = 0; k < kEight / 2; ++k)
    if (in_use(2 * k, lanes)) to[k] = static_cast<uint8_t>(pairs >> (8 * k));
}
// Where element k's four bits begin in them.
__device__ constexpr int shift_of(int k) { return 8 * (k / 2) + (k % 2 == 0 ? 4 : 0); }

__device__ inline uint32_t code_of(float fraction) {
  uint32_t below = 0;  // middles
  LOWMEM_UNROLL
  for (int m = 0; m < 15; ++m) below += kNf4.middle[m] < fraction ? 1 : 0;
  return below;
}

__device__ inline float largest(const Eight& x) {
  float most = 0;
  LOWMEM_UNROLL
  for (int k = 0; k < kEight; ++k) most = larger(most, fabsf(x.at[k]));
  return most;
}

template <class T>
__global__ void quantize(const T* values, int64_t count, uint8_t* codes, float* absmax) {
  Eight x{};
  for_own_eight(0, count, all_aligned(values),
                [&](int64_t i, auto lanes) { x = load(values + i, lanes); });
  float most = largest(x);  // then of the eight threads of a block of 64
  LOWMEM_UNROLL
  for (int k = kNf4Block / kEight / 2; k > 0; k /= 2)
    most = larger(most, __shfl_xor_sync(kAllLanes, most, k));
  const bool vectors = all_aligned(codes);
  for_own_eight(0, count, vectors, [&](int64_t i, auto lanes) {
    const int64_t block = i / kNf4Block;
    const BlockScale scale(most, (block + 1) * kNf4Block <= count);
    if (i % kNf4Block == 0) absmax[block] = scale.stored;
    uint32_t pairs = 0;
    LOWMEM_UNROLL
    for (int k = 0; k < kEight; ++k)
      pairs |= code_of(scale.fraction(x.at[k])) << shift_of(k);
    store_pairs(codes + i / 2, pairs, vectors, lanes);
  });
}

// Part of a matrix.
struct Part {
  int64_t first, columns, width;

  __device__ int64_t place_of(int64_t i) const {
    return first + i / columns * width + i % columns;
  }
  // Whether eights are of one row and one block, and of whole bytes.
  __device__ bool of_eights(int64_t count) const {
    return first % kEight == 0 &&
           (count <= columns || (columns % kEight == 0 && width % kEight == 0));
  }
};

template <class T>
__global__ void dequantize(Nf4View matrix, Part part, int64_t count, T* out) {
  const bool vectors = all_aligned(matrix.codes), eights = part.of_eights(count);
  for_own_eight(0, count, all_aligned(out), [&](int64_t i, auto lanes) {
    if (eights) {
      const int64_t from = part.place_of(i);
      const float scale = scale_of(matrix, kAbsmax, from / kNf4Block);
      const uint32_t pairs = load_pairs(matrix.codes + from / 2, vectors, lanes);
      store(out + i, eight_of([&](int k) {
              return kNf4.level[(pairs >> shift_of(k)) & 15] * scale;
            }),
            lanes);
      return;
    }
    store(out + i, eight_of([&](int k) {
            if (!in_use(k, lanes)) return 0.0f;
            const int64_t at = part.place_of(i + k);
            const int code = matrix.codes[at / 2] >> (at % 2 == 0 ? 4 : 0);
            return kNf4.level[code & 15] * scale_of(matrix, kAbsmax, at / kNf4Block);
          }),
          lanes);
  });
}

__global__ void mean_of(const float* absmax, int64_t count, float* offset) {
  double own = 0;
  for_each_of_block(
      count, [&](int64_t i) { return absmax[i]; },
      [&](int64_t, float x) { own += static_cast<double>(x); });
  const double total = block_sum(own);
  if (threadIdx.x == 0) *offset = static_cast<float>(total / static_cast<double>(count));
}

// A warp's eights are a block of nested scales.
__global__ void quantize_scales(const float* absmax, int64_t count, uint8_t* codes,
                                float* nested_absmax, const float* offset) {
  const float mean = *offset;
  const bool vectors = all_aligned(absmax, codes);
  Eight x{};
  for_own_eight(0, count, vectors, [&](int64_t i, auto lanes) {
    const Eight scales = load(absmax + i, lanes);
    x = eight_of([&](int k) { return in_use(k, lanes) ? scales.at[k] - mean : 0.0f; });
  });
  const float most = warp_largest(largest(x));
  for_own_eight(0, count, vectors, [&](int64_t i, auto lanes) {
    const int64_t block = i / kNf4Nested;
    const BlockScale scale(most, (block + 1) * kNf4Nested <= count);
    if (lane() == 0) nested_absmax[block] = scale.stored;
    Codes own;
    LOWMEM_UNROLL
    for (int k = 0; k < kEight; ++k) own.at[k] = kAbsmax.code_of(scale.fraction(x.at[k]));
    store_codes(codes + i, own, lanes);
  });
}

}  // namespace

void quantize_nf4(const ConstArray& values, int64_t count, uint8_t* codes, float* absmax,
                  Stream stream) {
  with_type(values, [&]<class T>(const T* x) {
    launch(quantize<T>, blocks_of_eights(count), kMostThreads, stream, x, count, codes,
           absmax);
  });
}

void dequantize_nf4(const Nf4View& matrix, int64_t first, int64_t rows, int64_t columns,
                    int64_t width, Array out, Stream stream) {
  const int64_t count = rows * columns;
  with_mutable_type(out, [&]<class T>(T* to) {
    launch(dequantize<T>, blocks_of_eights(count), kMostThreads, stream, matrix,
           Part{first, columns, width}, count, to);
  });
}

void quantize_absmax(const float* absmax, int64_t count, uint8_t* codes,
                     float* nested_absmax, float* offset, Stream stream) {
  if (count == 0) return;
  launch(mean_of, 1, kMostThreads, stream, absmax, count, offset);
  launch(quantize_scales, blocks_of_eights(count), kMostThreads, stream, absmax, count,
         codes, nested_absmax, offset);
}

}  // namespace lowmem::kernels::LOWMEM_DEVICE
