// Matrices in 8 bits with a scale a row. A block a row, of as many threads as it has
// eights, at most 256. Quantizing reads a row twice; back to bf16 3 bytes an element.
#include "device_codes.h"
#include "fp16_grid.h"
#include "lowmem/kernels/int8_rows.h"

namespace lowmem::kernels::LOWMEM_DEVICE {
namespace {

// As in int8_rows.cpp.
__device__ inline float rounded_to_fp16(float x) {
  using namespace fp16_grid;
  const uint32_t bits = std::bit_cast<uint32_t>(x), sign = bits & 0x80000000;
  const uint32_t size_bits = bits ^ sign;
  const float size = std::bit_cast<float>(size_bits);
  if (!(size == size)) return x;
  const uint32_t even = (size_bits >> kCut) & 1;
  const uint32_t normal = (size_bits + (kCutMask >> 1) + even) & ~kCutMask;
  const float tiny = (size + kSubnormalShift) - kSubnormalShift;
  const uint32_t rounded = size < kLeastNormal ? std::bit_cast<uint32_t>(tiny) : normal;
  return std::bit_cast<float>(rounded | sign);
}

template <class T>
__global__ void quantize(const T* values, int64_t rows, int64_t columns, int8_t* codes,
                         float* scales, int64_t* not_finite) {
  for_rows_of_block(rows, [&](int64_t row) {
    const T* in = values + row * columns;
    uint8_t* out = reinterpret_cast<uint8_t*>(codes) + row * columns;
    const bool vectors = all_aligned(in, out);
    float own = 0, bad = 0;
    for_eights_of_block(0, columns, vectors, [&](int64_t i, auto lanes) {
      const Eight x = load(in + i, lanes);
      LOWMEM_UNROLL
      for (int k = 0; k < kEight; ++k) {
        const float size = fabsf(rounded_to_fp16(x.at[k]));
        own = larger(own, size);
        if (!(size < fp16_grid::kInfinite)) bad = 1;  // NaN too
      }
    });
    const float scale = block_largest(own);
    const bool all_finite = block_largest(bad) == 0;
    if (threadIdx.x == 0) {
      scales[row] = scale;
      if (!all_finite) add_together(not_finite, 1);
    }
    const float factor = scale > 0 ? 1 / scale * 127 : 0;
    for_eights_of_block(0, columns, vectors, [&](int64_t i, auto lanes) {
      const Eight x = load(in + i, lanes);
      Codes own_codes;
      LOWMEM_UNROLL
      for (int k = 0; k < kEight; ++k) {
        const float whole = rounded_to_fp16(x.at[k]) * factor + fp16_grid::kWholeShift;
        own_codes.at[k] = static_cast<uint8_t>(std::bit_cast<uint32_t>(whole));
      }
      store_codes(out + i, own_codes, lanes);
    });
  });
}

template <class T>
__global__ void dequantize(const int8_t* codes, const float* scales, int64_t rows,
                           int64_t columns, int64_t width, T* out) {
  for_rows_of_block(rows, [&](int64_t row) {
    const uint8_t* in = reinterpret_cast<const uint8_t*>(codes) + row * width;
    T* to = out + row * columns;
    const float factor = scales[row] * (1.0f / 127);
    for_eights_of_block(0, columns, all_aligned(in, to), [&](int64_t i, auto lanes) {
      const Codes own = load_codes(in + i, lanes);
      store(to + i, eight_of([&](int k) {
              return static_cast<float>(static_cast<int8_t>(own.at[k])) * factor;
            }),
            lanes);
    });
  });
}

}  // namespace

void quantize_int8(const ConstArray& values, int64_t rows, int64_t columns, int8_t* codes,
                   float* scales, int64_t* not_finite, Stream stream) {
  with_type(values, [&]<class T>(const T* x) {
    launch(quantize<T>, grid_of(rows), threads_for(columns), stream, x, rows, columns,
           codes, scales, not_finite);
  });
}

void dequantize_int8(const int8_t* codes, const float* scales, int64_t rows,
                     int64_t columns, int64_t width, Array out, Stream stream) {
  with_mutable_type(out, [&]<class T>(T* to) {
    launch(dequantize<T>, grid_of(rows), threads_for(columns), stream, codes, scales,
           rows, columns, width, to);
  });
}

}  // namespace lowmem::kernels::LOWMEM_DEVICE
