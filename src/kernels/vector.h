#pragma once

// Sixteen numbers at a time, in the compiler's own vector types: fp32 in registers, fp32
// or bf16 in memory. Everything here is inlined, so that no instruction set's code is
// ever called from another's.
//
// Sums and products of sixteen numbers can be left to the compiler. What it does badly
// with vectors wider than a register (GCC 12 compares, selects and converts their numbers
// one by one, and keeps in memory what a loop carries along) is done here a register at a
// time, for every instruction set alike.

#include <cstdint>
#include <cstring>
#ifdef __SSE2__
#include <immintrin.h>
#endif

#include "dispatch.h"
#include "exponential_terms.h"
#include "lowmem/kernels/elements.h"

#define LOWMEM_INLINE [[gnu::always_inline]] inline
#define LOWMEM_INLINE_LAMBDA __attribute__((always_inline))

namespace lowmem::kernels::LOWMEM_ISA {

constexpr int64_t kLanes = 16;

using Float16 [[gnu::vector_size(64)]] = float;
using Int16 [[gnu::vector_size(64)]] = int32_t;
using Word16 [[gnu::vector_size(64)]] = uint32_t;
using Bits16 [[gnu::vector_size(32)]] = uint16_t;

// What one register holds, and how many of them make sixteen floats.
#if defined(__AVX512F__)
constexpr int kRegister = 64;  // bytes
#elif defined(__AVX2__)
constexpr int kRegister = 32;
#else
constexpr int kRegister = 16;
#endif
constexpr int kParts = 64 / kRegister;
using Floats [[gnu::vector_size(kRegister)]] = float;
using Words [[gnu::vector_size(kRegister)]] = uint32_t;
using Longs [[gnu::vector_size(kRegister)]] = long long;  // as intrinsics take integers
using HalfLongs [[gnu::vector_size(kRegister / 2)]] = long long;
using Doubles [[gnu::vector_size(kRegister)]] = double;
using HalfFloats [[gnu::vector_size(kRegister / 2)]] = float;  // as many as Doubles

template <class T>
constexpr int kBytes = sizeof(T);

// A vector cut into smaller ones.
template <class Part, int kCount>
struct Cut {
  Part at[kCount];
};
template <class Part, class Vector>
LOWMEM_INLINE auto cut(Vector x) {
  Cut<Part, kBytes<Vector> / kBytes<Part>> parts;
  static_assert(sizeof parts == sizeof x);
  std::memcpy(&parts, &x, sizeof x);
  return parts;
}
template <class Vector, class Part, int kCount>
LOWMEM_INLINE Vector joined(const Cut<Part, kCount>& parts) {
  Vector x;
  static_assert(sizeof parts == sizeof x);
  std::memcpy(&x, &parts, sizeof x);
  return x;
}

// How many lanes of a vector are in use: all, known when compiling, or the last few.
struct AllLanes {
  static constexpr int64_t count = kLanes;
};
struct SomeLanes {
  int64_t count;
};

// Calls f(i, lanes) for i = begin, begin + 16, ...
template <class F>
LOWMEM_INLINE void for_lanes(int64_t begin, int64_t end, F&& f) {
  int64_t i = begin;
  for (; i + kLanes <= end; i += kLanes) f(i, AllLanes{});
  if (i < end) f(i, SomeLanes{end - i});
}

// Subtracting 0 changes nothing, not even the sign of a zero.
LOWMEM_INLINE Float16 splat(float x) { return x - Float16{}; }

template <class Vector>
LOWMEM_INLINE Float16 as_floats(Vector bits) {
  return reinterpret_cast<Float16>(bits);
}
LOWMEM_INLINE Word16 as_words(Float16 x) { return reinterpret_cast<Word16>(x); }

// The intrinsics below that take a mask of all lanes are those without one, less what GCC
// 12 takes for a use of an uninitialised vector.

LOWMEM_INLINE Word16 to_words(Bits16 x) {
#if defined(__AVX512F__)
  return reinterpret_cast<Word16>(
      _mm512_maskz_cvtepu16_epi32(0xffff, reinterpret_cast<__m256i>(x)));
#elif defined(__AVX2__)
  const auto parts = cut<HalfLongs>(x);
  return joined<Word16>(Cut<Longs, 2>{
      {_mm256_cvtepu16_epi32(parts.at[0]), _mm256_cvtepu16_epi32(parts.at[1])}});
#elif defined(__SSE2__)
  const auto parts = cut<Longs>(x);
  const __m128i zero = _mm_setzero_si128();
  return joined<Word16>(Cut<Longs, 4>{
      {_mm_unpacklo_epi16(parts.at[0], zero), _mm_unpackhi_epi16(parts.at[0], zero),
       _mm_unpacklo_epi16(parts.at[1], zero), _mm_unpackhi_epi16(parts.at[1], zero)}});
#else
  return __builtin_convertvector(x, Word16);
#endif
}

LOWMEM_INLINE Bits16 upper_bits(Word16 x) {
#if defined(__AVX512F__)
  return __builtin_convertvector(x >> 16, Bits16);
#elif defined(__AVX2__)
  const auto parts = cut<Longs>(x);
  const __m256i packed = _mm256_packus_epi32(_mm256_srli_epi32(parts.at[0], 16),
                                             _mm256_srli_epi32(parts.at[1], 16));
  return reinterpret_cast<Bits16>(_mm256_permute4x64_epi64(packed, 0b11011000));
#elif defined(__SSE2__)
  const auto parts = cut<Longs>(x);
  return joined<Bits16>(Cut<Longs, 2>{
      {_mm_packs_epi32(_mm_srai_epi32(parts.at[0], 16), _mm_srai_epi32(parts.at[1], 16)),
       _mm_packs_epi32(_mm_srai_epi32(parts.at[2], 16),
                       _mm_srai_epi32(parts.at[3], 16))}});
#else
  return __builtin_convertvector(x >> 16, Bits16);
#endif
}

// Lanes that a comparison found true, -1 each; the others are 0.
LOWMEM_INLINE int64_t count_true(Int16 found) {
#if defined(__AVX512F__)
  const auto lanes = reinterpret_cast<__m512i>(found);
  return __builtin_popcount(_mm512_test_epi32_mask(lanes, lanes));
#elif defined(__AVX2__)
  const auto parts = cut<Floats>(found);
  return __builtin_popcount(static_cast<unsigned>(_mm256_movemask_ps(parts.at[0]))) +
         __builtin_popcount(static_cast<unsigned>(_mm256_movemask_ps(parts.at[1])));
#else
  int64_t count = 0;
  for (int k = 0; k < kLanes; ++k) count -= found[k];
  return count;
#endif
}

LOWMEM_INLINE Float16 widen(Bits16 bits) { return as_floats(to_words(bits) << 16); }

// Unused lanes are 0.
template <class Lanes>
LOWMEM_INLINE Float16 load(const float* from, Lanes lanes) {
  Float16 x{};
  std::memcpy(&x, from, static_cast<size_t>(lanes.count) * sizeof *from);
  return x;
}
template <class Lanes>
LOWMEM_INLINE Bits16 load_bits(const uint16_t* from, Lanes lanes) {
  Bits16 x{};
  std::memcpy(&x, from, static_cast<size_t>(lanes.count) * sizeof *from);
  return x;
}
template <class Lanes>
LOWMEM_INLINE Float16 load(const Bf16* from, Lanes lanes) {
  return widen(load_bits(&from->bits, lanes));
}

// Sets the lanes that are not in use to 0.
LOWMEM_INLINE Float16 only(Float16 x, AllLanes) { return x; }
LOWMEM_INLINE Float16 only(Float16 x, SomeLanes lanes) {
  for (int64_t k = lanes.count; k < kLanes; ++k) x[k] = 0;
  return x;
}

// `rounded`, but NaN where x is.
LOWMEM_INLINE Bits16 keep_nan(Float16 x, Word16 rounded) {
  const auto numbers = cut<Floats>(x);
  auto words = cut<Words>(rounded);
  for (int i = 0; i < kParts; ++i) {
    const Floats number = numbers.at[i];
    const Words quiet = reinterpret_cast<Words>(number) | 0x400000;
    words.at[i] = number != number ? quiet : words.at[i];
  }
  return upper_bits(joined<Word16>(words));
}

// As round_to_nearest() and round_stochastically() of elements.h. Noise is too small to
// make a NaN of an infinity.
LOWMEM_INLINE Bits16 round_to_nearest(Float16 x) {
  const Word16 bits = as_words(x);
  return keep_nan(x, bits + 0x7fff + ((bits >> 16) & 1));
}
LOWMEM_INLINE Bits16 round_stochastically(Float16 x, Bits16 noise) {
  return keep_nan(x, as_words(x) + to_words(noise));
}

template <class Lanes>
LOWMEM_INLINE void store(float* to, Float16 x, Lanes lanes) {
  std::memcpy(to, &x, static_cast<size_t>(lanes.count) * sizeof *to);
}
template <class Lanes>
LOWMEM_INLINE void store_bits(Bf16* to, Bits16 x, Lanes lanes) {
  std::memcpy(to, &x, static_cast<size_t>(lanes.count) * sizeof *to);
}
template <class Lanes>
LOWMEM_INLINE void store(Bf16* to, Float16 x, Lanes lanes) {
  store_bits(to, round_to_nearest(x), lanes);
}

// f(register) of each register of x.
template <class F>
LOWMEM_INLINE Float16 by_register(Float16 x, F&& f) {
  auto parts = cut<Floats>(x);
  for (int i = 0; i < kParts; ++i) parts.at[i] = f(parts.at[i]);
  return joined<Float16>(parts);
}

LOWMEM_INLINE Float16 square_root(Float16 x) {
  return by_register(x, [](Floats part) LOWMEM_INLINE_LAMBDA {
#if defined(__AVX512F__)
    return _mm512_maskz_sqrt_ps(0xffff, part);
#elif defined(__AVX2__)
    return _mm256_sqrt_ps(part);
#elif defined(__SSE2__)
    return _mm_sqrt_ps(part);
#else
    Floats root;
    for (size_t i = 0; i < sizeof root / sizeof(float); ++i)
      root[i] = __builtin_sqrtf(part[i]);
    return root;
#endif
  });
}

// e^x to 2 units in the last place, infinity from 88.38 on, 0 below -87.3. NaN stays NaN.
LOWMEM_INLINE Float16 exponential(Float16 all) {
  return by_register(all, [](Floats x) LOWMEM_INLINE_LAMBDA {
    using namespace exponential_terms;
    const Floats bounded = x > kMost ? Floats{} + kMost : x;
    const auto tiny = bounded < kLeast;
    // x = n log(2) + r with |r| <= log(2) / 2.
    const Floats shifted = bounded * kLog2E + kShift;
    const Floats n = shifted - kShift;
    const Floats r = (bounded - n * kLog2High) - n * kLog2Low;
    Floats p = Floats{} + k5;
    p = p * r + k4;
    p = p * r + k3;
    p = p * r + k2;
    p = p * r + k1;
    p = p * r + k0;
    p = p * (r * r) + r + 1.0f;
    const Words scale = (reinterpret_cast<Words>(shifted) - kShiftBits) << 23;
    return tiny ? Floats{} : p * reinterpret_cast<Floats>(scale);
  });
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

LOWMEM_INLINE float largest(Float16 x) {
  float most = x[0];
  for (int i = 1; i < kLanes; ++i) most = x[i] > most ? x[i] : most;
  return most;
}

// The largest of many vectors' numbers, lane by lane. Numbers that are NaN do not count.
struct LargestLanes {
  Cut<Floats, kParts> most;

  LOWMEM_INLINE explicit LargestLanes(float least) : most(cut<Floats>(splat(least))) {}
  LOWMEM_INLINE void add(Float16 x) {
    const auto parts = cut<Floats>(x);
    for (int i = 0; i < kParts; ++i)
      most.at[i] = parts.at[i] > most.at[i] ? parts.at[i] : most.at[i];
  }
  LOWMEM_INLINE float total() const { return largest(joined<Float16>(most)); }
};

// The lanes' sum, always in the same order.
LOWMEM_INLINE float sum(Float16 x) {
  using Float4 [[gnu::vector_size(16)]] = float;
  const auto fours = cut<Float4>(x);
  const Float4 four = (fours.at[0] + fours.at[1]) + (fours.at[2] + fours.at[3]);
  return (four[0] + four[1]) + (four[2] + four[3]);
}

LOWMEM_INLINE Cut<Doubles, 2 * kParts> to_doubles(Float16 x) {
  Cut<Doubles, 2 * kParts> doubles;
#if defined(__SSE2__) && !defined(__AVX2__)
  const auto parts = cut<Floats>(x);
  for (int i = 0; i < kParts; ++i) {
    doubles.at[2 * i] = _mm_cvtps_pd(parts.at[i]);
    doubles.at[2 * i + 1] = _mm_cvtps_pd(_mm_movehl_ps(parts.at[i], parts.at[i]));
  }
#else
  const auto parts = cut<HalfFloats>(x);
  for (int i = 0; i < 2 * kParts; ++i)
    doubles.at[i] = __builtin_convertvector(parts.at[i], Doubles);
#endif
  return doubles;
}

// A sum in double of many vectors of floats.
struct DoubleSum {
  Doubles sums[2 * kParts] = {};

  LOWMEM_INLINE void add(Float16 x) {
    const auto parts = to_doubles(x);
    for (int i = 0; i < 2 * kParts; ++i) sums[i] += parts.at[i];
  }
  LOWMEM_INLINE void add_square(Float16 x) {
    const auto parts = to_doubles(x);
    for (int i = 0; i < 2 * kParts; ++i) sums[i] += parts.at[i] * parts.at[i];
  }
  LOWMEM_INLINE double total() const {
    Doubles added[kParts];
    for (int i = 0; i < kParts; ++i) added[i] = sums[i] + sums[i + kParts];
    double both[8];
    std::memcpy(both, added, sizeof both);
    return ((both[0] + both[4]) + (both[1] + both[5])) +
           ((both[2] + both[6]) + (both[3] + both[7]));
  }
};

// The same at half the cost: sixteen vectors are added up in fp32 before they go to
// double, which loses no more than a few units of the last place.
struct BlockSum {
  DoubleSum sum;
  Cut<Floats, kParts> block = {};
  int count = 0;

  LOWMEM_INLINE void add(Float16 x) {
    const auto parts = cut<Floats>(x);
    for (int i = 0; i < kParts; ++i) block.at[i] += parts.at[i];
    if (++count < 16) return;
    sum.add(joined<Float16>(block));
    block = {};
    count = 0;
  }
  LOWMEM_INLINE double total() {
    sum.add(joined<Float16>(block));
    return sum.total();
  }
};

}  // namespace lowmem::kernels::LOWMEM_ISA
