#include "lowmem/kernels/nf4.h"

#include <algorithm>

#include "quantized_levels.h"
#include "vector_bytes.h"

namespace lowmem::kernels {
namespace LOWMEM_ISA {
namespace {

constexpr Nf4Table kNf4;
constexpr AbsmaxTable kAbsmax;

template <class T>
float largest_of(const T* values, int64_t count) {
  LargestLanes most(0);
  for_lanes(0, count,
            [&](int64_t i, auto lanes) { most.add(magnitude(load(values + i, lanes))); });
  return most.total();
}

LOWMEM_INLINE Byte16 codes_of(Float16 fractions) {
  const auto parts = cut<Floats>(fractions);
  Cut<Words, kParts> below{};  // middles
  for (int i = 0; i < kParts; ++i)
    for (const float middle : kNf4.middle)
      below.at[i] -= reinterpret_cast<Words>(parts.at[i] > middle);
  return to_bytes(joined<Word16>(below));
}

template <class T>
void quantize(const T* values, int64_t count, uint8_t* codes, float* absmax) {
  for (int64_t begin = 0; begin < count; begin += kNf4Block) {
    const int64_t size = std::min(kNf4Block, count - begin);
    const BlockScale scale(largest_of(values + begin, size), size == kNf4Block);
    absmax[begin / kNf4Block] = scale.stored;
    uint8_t code[kNf4Block];  // that of 0 behind the last
    for_lanes(0, size, [&](int64_t i, auto lanes) {
      const Byte16 some = codes_of(scale.fraction(load(values + begin + i, lanes)));
      std::memcpy(code + i, &some, sizeof some);
    });
    for (int64_t i = 0; i < nf4_bytes(size); ++i)
      codes[begin / 2 + i] = static_cast<uint8_t>((code[2 * i] << 4) | code[2 * i + 1]);
  }
}

// Elements [begin, end) of a block, whose `levels` are those times its scale.
template <class T>
void write_some(const uint8_t* codes, Float16 levels, int64_t begin, int64_t end,
                T* out) {
  T level[16];
  store(level, levels, AllLanes{});
  for (int64_t i = begin; i < end; ++i)
    out[i - begin] = level[i % 2 == 0 ? codes[i / 2] >> 4 : codes[i / 2] & 15];
}

// All of a block. With AVX-512, too, by registers of 32 bytes: it writes as fast as
// memory takes it.
#if defined(__AVX2__)

constexpr int kLevels = 16;
using Half = __m128i;   // 16 bytes
using Whole = __m256i;  // two halves, in each of which most instructions stay

// Pairs of codes as a byte each, in the order of elements: of 16 bytes' lower eight, and
// of their upper ones.
struct Unpacked {
  Whole lower, upper;
};
LOWMEM_INLINE Unpacked unpack(const uint8_t* codes) {
  Whole pairs;
  std::memcpy(&pairs, codes, sizeof pairs);
  const Whole mask = _mm256_set1_epi8(kLevels - 1);
  const Whole first = _mm256_and_si256(_mm256_srli_epi16(pairs, 4), mask);
  const Whole second = _mm256_and_si256(pairs, mask);
  return {_mm256_unpacklo_epi8(first, second), _mm256_unpackhi_epi8(first, second)};
}

// An instruction looks 32 bytes up in 16: once the lower bytes of the bf16 numbers, once
// the upper ones.
LOWMEM_INLINE void write_block(const uint8_t* codes, Float16 levels, Bf16* out) {
  const auto rounded = reinterpret_cast<Whole>(round_to_nearest(levels));
  const Whole bytes = _mm256_packus_epi16(
      _mm256_and_si256(rounded, _mm256_set1_epi16(0xff)), _mm256_srli_epi16(rounded, 8));
  const Whole low = _mm256_permute4x64_epi64(bytes, 0b10'00'10'00);
  const Whole high = _mm256_permute4x64_epi64(bytes, 0b11'01'11'01);
  const Unpacked index = unpack(codes);
  // Of elements 0 to 15 and 32 to 47, then of the others.
  Whole* to = reinterpret_cast<Whole*>(out);
  for (const Whole part : {index.lower, index.upper}) {
    const Whole lows = _mm256_shuffle_epi8(low, part);
    const Whole highs = _mm256_shuffle_epi8(high, part);
    const Whole front = _mm256_unpacklo_epi8(lows, highs);
    const Whole back = _mm256_unpackhi_epi8(lows, highs);
    _mm256_storeu_si256(to, _mm256_permute2x128_si256(front, back, 0x20));
    _mm256_storeu_si256(to + 2, _mm256_permute2x128_si256(front, back, 0x31));
    ++to;
  }
}

// Two instructions look eight codes up in eight levels each; the codes' highest bit says
// which is right.
LOWMEM_INLINE void write_eight(Half index, __m256 low, __m256 high, float* out) {
  const Whole at = _mm256_cvtepu8_epi32(index);
  const __m256 is_high = _mm256_castsi256_ps(_mm256_slli_epi32(at, 28));
  _mm256_storeu_ps(out, _mm256_blendv_ps(_mm256_permutevar8x32_ps(low, at),
                                         _mm256_permutevar8x32_ps(high, at), is_high));
}
LOWMEM_INLINE void write_block(const uint8_t* codes, Float16 levels, float* out) {
  __m256 low, high;
  std::memcpy(&low, &levels, sizeof low);
  std::memcpy(&high, reinterpret_cast<const char*>(&levels) + sizeof low, sizeof high);
  const Unpacked index = unpack(codes);
  const Half sixteens[] = {
      _mm256_castsi256_si128(index.lower), _mm256_castsi256_si128(index.upper),
      _mm256_extracti128_si256(index.lower, 1), _mm256_extracti128_si256(index.upper, 1)};
  for (int i = 0; i < 4; ++i) {
    write_eight(sixteens[i], low, high, out + 16 * i);
    write_eight(_mm_unpackhi_epi64(sixteens[i], sixteens[i]), low, high,
                out + 16 * i + 8);
  }
}

#else

template <class T>
void write_block(const uint8_t* codes, Float16 levels, T* out) {
  T level[16];
  store(level, levels, AllLanes{});
  for (int64_t i = 0; i < kNf4Block / 2; ++i) {
    out[2 * i] = level[codes[i] >> 4];
    out[2 * i + 1] = level[codes[i] & 15];
  }
}

#endif

template <class T>
void dequantize(const Nf4View& matrix, int64_t first, int64_t count, T* out) {
  const Float16 table = load(kNf4.level, AllLanes{});
  const int64_t end = first + count;
  for (int64_t i = first; i < end;) {
    const int64_t block = i / kNf4Block, start = block * kNf4Block;
    const int64_t stop = std::min(end, start + kNf4Block);
    const Float16 levels = table * scale_of(matrix, kAbsmax, block);
    const uint8_t* codes = matrix.codes + start / 2;
    if (stop - i == kNf4Block)
      write_block(codes, levels, out + (i - first));
    else
      write_some(codes, levels, i - start, stop - start, out + (i - first));
    i = stop;
  }
}

float mean_of(const float* absmax, int64_t count) {
  double sums[kMeanSums] = {};
  for (int64_t begin = 0; begin < count; begin += kMeanSums)
    for (int64_t i = 0; i < std::min(kMeanSums, count - begin); ++i)
      sums[i] += double{absmax[begin + i]};
  constexpr int64_t kTogether = 32;
  double total = 0;
  for (int64_t begin = 0; begin < kMeanSums; begin += kTogether) {
    double* sum = sums + begin;
    for (int64_t half = kTogether / 2; half > 0; half /= 2)
      for (int64_t i = 0; i < half; ++i) sum[i] += sum[i + half];
    total += sum[0];
  }
  return static_cast<float>(total / static_cast<double>(count));
}

}  // namespace

void quantize_nf4(const ConstArray& values, int64_t count, uint8_t* codes,
                  float* absmax) {
  with_type(values, [&](const auto* x) { quantize(x, count, codes, absmax); });
}

void dequantize_nf4(const Nf4View& matrix, int64_t first, int64_t count, Array out) {
  with_mutable_type(out, [&](auto* to) { dequantize(matrix, first, count, to); });
}

void quantize_absmax(const float* absmax, int64_t count, uint8_t* codes,
                     float* nested_absmax, float* offset) {
  if (count == 0) return;
  const float mean = mean_of(absmax, count);
  *offset = mean;
  for (int64_t begin = 0; begin < count; begin += kNf4Nested) {
    const int64_t size = std::min(kNf4Nested, count - begin);
    LargestLanes most(0);
    for_lanes(begin, begin + size, [&](int64_t i, auto lanes) {
      most.add(only(magnitude(load(absmax + i, lanes) - mean), lanes));
    });
    const BlockScale scale(most.total(), size == kNf4Nested);
    nested_absmax[begin / kNf4Nested] = scale.stored;
    for (int64_t i = begin; i < begin + size; ++i)
      codes[i] = kAbsmax.code_of(scale.fraction(absmax[i] - mean));
  }
}

}  // namespace LOWMEM_ISA

LOWMEM_DISPATCH(void, quantize_nf4,
                (const ConstArray& values, int64_t count, uint8_t* codes, float* absmax),
                (values, count, codes, absmax))
LOWMEM_DISPATCH(void, dequantize_nf4,
                (const Nf4View& matrix, int64_t first, int64_t count, Array out),
                (matrix, first, count, out))
LOWMEM_DISPATCH(void, quantize_absmax,
                (const float* absmax, int64_t count, uint8_t* codes, float* nested_absmax,
                 float* offset),
                (absmax, count, codes, nested_absmax, offset))

}  // namespace lowmem::kernels
