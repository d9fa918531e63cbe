#pragma once

// Sixteen numbers as bytes in memory.

#include "vector.h"

namespace lowmem::kernels::LOWMEM_ISA {

using Byte16 [[gnu::vector_size(16)]] = uint8_t;

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

// Signed numbers of 8 bits.
LOWMEM_INLINE Float16 to_floats(Byte16 bytes) {
#if defined(__AVX512F__)
  return _mm512_maskz_cvtepi32_ps(
      0xffff, _mm512_maskz_cvtepi8_epi32(0xffff, reinterpret_cast<__m128i>(bytes)));
#elif defined(__AVX2__)
  const auto all = reinterpret_cast<__m128i>(bytes);
  return joined<Float16>(Cut<Floats, 2>{
      {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(all)),
       _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_unpackhi_epi64(all, all)))}});
#elif defined(__SSE2__)
  // Each in the upper eight bits, from where it is shifted down with its sign.
  const auto all = reinterpret_cast<__m128i>(bytes);
  const __m128i low = _mm_unpacklo_epi8(all, all), high = _mm_unpackhi_epi8(all, all);
  const __m128i words[] = {_mm_unpacklo_epi16(low, low), _mm_unpackhi_epi16(low, low),
                           _mm_unpacklo_epi16(high, high),
                           _mm_unpackhi_epi16(high, high)};
  Cut<Floats, 4> parts;
  for (int i = 0; i < 4; ++i) parts.at[i] = _mm_cvtepi32_ps(_mm_srai_epi32(words[i], 24));
  return joined<Float16>(parts);
#else
  using Signed [[gnu::vector_size(16)]] = int8_t;
  return __builtin_convertvector(reinterpret_cast<Signed>(bytes), Float16);
#endif
}

}  // namespace lowmem::kernels::LOWMEM_ISA
