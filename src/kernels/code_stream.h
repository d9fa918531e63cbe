#pragma once

// An optimizer's state in codes of 8 bits (dynamic_map.h).

#include "lowmem/kernels/dynamic_map.h"
#include "weight_writer.h"

namespace lowmem::kernels::LOWMEM_ISA {

using Byte16 [[gnu::vector_size(16)]] = uint8_t;

LOWMEM_INLINE Word16 to_words(Byte16 x) {
#if defined(__AVX512F__)
  return reinterpret_cast<Word16>(
      _mm512_maskz_cvtepu8_epi32(0xffff, reinterpret_cast<__m128i>(x)));
#elif defined(__AVX2__)
  const auto bytes = reinterpret_cast<__m128i>(x);
  return joined<Word16>(Cut<Longs, 2>{
      {_mm256_cvtepu8_epi32(bytes), _mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8))}});
#else
  return __builtin_convertvector(x, Word16);
#endif
}

// Words below 256.
LOWMEM_INLINE Byte16 to_bytes(Word16 x) {
#if defined(__AVX512F__)
  return reinterpret_cast<Byte16>(
      _mm512_maskz_cvtepi32_epi8(0xffff, reinterpret_cast<__m512i>(x)));
#elif defined(__AVX2__)
  const auto parts = cut<Longs>(x);
  const __m256i halves = _mm256_packus_epi32(parts.at[0], parts.at[1]);
  const __m256i bytes = _mm256_packus_epi16(halves, halves);
  return reinterpret_cast<Byte16>(_mm256_castsi256_si128(
      _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 0, 4, 1, 5))));
#elif defined(__SSE2__)
  const auto parts = cut<Longs>(x);
  return reinterpret_cast<Byte16>(
      _mm_packus_epi16(_mm_packs_epi32(parts.at[0], parts.at[1]),
                       _mm_packs_epi32(parts.at[2], parts.at[3])));
#else
  return __builtin_convertvector(x, Byte16);
#endif
}

// table[i] for each i, 32 bits each.
template <class T>
LOWMEM_INLINE Word16 look_up(const T* table, Word16 indices) {
  static_assert(sizeof(T) == sizeof(uint32_t));
  Word16 found;
  for (int k = 0; k < kLanes; ++k) found[k] = std::bit_cast<uint32_t>(table[indices[k]]);
  return found;
}

LOWMEM_INLINE Float16 magnitude(Float16 x) { return as_floats(as_words(x) & 0x7fffffff); }

// All bits of the lanes where `a` is above `b`.
LOWMEM_INLINE Word16 above(Float16 a, Float16 b) {
  const auto left = cut<Floats>(a), right = cut<Floats>(b);
  Cut<Words, kParts> masks;
  for (int i = 0; i < kParts; ++i)
    masks.at[i] = reinterpret_cast<Words>(left.at[i] > right.at[i]);
  return joined<Word16>(masks);
}

template <class Code>
inline constexpr DynamicMap<Code> kMap;

// nearest_code() of elements.h for sixteen numbers.
template <class Code>
LOWMEM_INLINE Byte16 nearest_codes(Float16 x) {
  using namespace dynamic_map;
  const Float16 bounded = by_register(magnitude(x), [](Floats part) LOWMEM_INLINE_LAMBDA {
    return part > kLeast ? part : Floats{} + kLeast;  // NaN is not above
  });
  const Word16 bits = as_words(bounded);
  Word16 level =
      (look_up(kMap<Code>.entry, (bits >> 16) - kFirstEntry) + (bits & 0xffff)) >> 16;
  if constexpr (!DynamicMap<Code>::kSigned) return to_bytes(level);
  const Word16 negative = reinterpret_cast<Word16>(reinterpret_cast<Int16>(x) >> 31);
  level -= (level >> 7) & negative;  // there is no -1
  return to_bytes(((level ^ negative) - negative) + DynamicMap<Code>::kZero);
}

// What is written to a piece is kept as it is until its end, where the largest of each
// block is known.
template <class Code>
requires kIsCode<Code>
class StateStream<Code> {
 public:
  explicit StateStream(const State& state)
      : codes_(static_cast<uint8_t*>(state.data)), scales_(state.scales) {}

  LOWMEM_INLINE void begin_piece(int64_t begin, int64_t) { first_ = begin; }
  template <class Lanes>
  LOWMEM_INLINE Float16 read(int64_t i, Lanes lanes) const {
    Byte16 codes{};
    std::memcpy(&codes, codes_ + i, static_cast<size_t>(lanes.count));
    const Word16 values = look_up(kMap<Code>.value, to_words(codes));
    return only(as_floats(values) * scale(i), lanes);
  }
  template <class Lanes>
  LOWMEM_INLINE void write(int64_t i, Float16 value, Lanes lanes) {
    store(values_ + (i - first_), only(value, lanes), AllLanes{});
  }
  // The most that numbers from i on may have been where they were read as 0.
  LOWMEM_INLINE float most_lost(int64_t i) const {
    return kMap<Code>.most_lost * scale(i);
  }

  LOWMEM_INLINE void end_piece(int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += kCodeBlock)
      end_block(i, std::min(end, i + kCodeBlock));
  }

 private:
  LOWMEM_INLINE float scale(int64_t i) const { return scales_[i / kCodeBlock]; }

  LOWMEM_INLINE void end_block(int64_t begin, int64_t end) {
    LargestLanes most(0);
    for_lanes(begin, end, [&](int64_t i, auto) { most.add(magnitude(written(i))); });
    const float scale = most.total();
    scales_[begin / kCodeBlock] = scale;
    for_lanes(begin, end, [&](int64_t i, auto lanes) {
      const Byte16 codes = nearest_codes<Code>(written(i) / scale);
      std::memcpy(codes_ + i, &codes, static_cast<size_t>(lanes.count));
    });
  }
  LOWMEM_INLINE Float16 written(int64_t i) const {
    return load(values_ + (i - first_), AllLanes{});
  }

  uint8_t* codes_;
  float* scales_;
  int64_t first_ = 0;
  alignas(64) float values_[NoiseStream::kMost];
};

}  // namespace lowmem::kernels::LOWMEM_ISA
