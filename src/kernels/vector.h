#pragma once

// Sixteen numbers at a time, in the compiler's own vector types: fp32 in registers, fp32
// or bf16 in memory. Everything here is inlined, so that no instruction set's code is
// ever called from another's.

#include <cstdint>
#include <cstring>

#include "dispatch.h"
#include "lowmem/kernels/elements.h"

#define LOWMEM_INLINE [[gnu::always_inline]] inline

namespace lowmem::kernels::LOWMEM_ISA {

constexpr int64_t kLanes = 16;

using Float16 [[gnu::vector_size(64)]] = float;
using Int16 [[gnu::vector_size(64)]] = int32_t;
using Word16 [[gnu::vector_size(64)]] = uint32_t;
using Half16 [[gnu::vector_size(32)]] = uint16_t;
using Double8 [[gnu::vector_size(64)]] = double;
using Float8 [[gnu::vector_size(32)]] = float;

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

LOWMEM_INLINE Float16 splat(float x) { return Float16{} + x; }

template <class Vector>
LOWMEM_INLINE Float16 as_floats(Vector bits) {
  return reinterpret_cast<Float16>(bits);
}
LOWMEM_INLINE Word16 as_words(Float16 x) { return reinterpret_cast<Word16>(x); }

LOWMEM_INLINE Float16 widen(Half16 bits) {
  return as_floats(__builtin_convertvector(bits, Word16) << 16);
}

// Unused lanes are 0.
template <class Lanes>
LOWMEM_INLINE Float16 load(const float* from, Lanes lanes) {
  Float16 x{};
  std::memcpy(&x, from, static_cast<size_t>(lanes.count) * sizeof *from);
  return x;
}
template <class Lanes>
LOWMEM_INLINE Half16 load_halves(const uint16_t* from, Lanes lanes) {
  Half16 x{};
  std::memcpy(&x, from, static_cast<size_t>(lanes.count) * sizeof *from);
  return x;
}
template <class Lanes>
LOWMEM_INLINE Float16 load(const Bf16* from, Lanes lanes) {
  return widen(load_halves(&from->bits, lanes));
}

// Sets the lanes that are not in use to 0.
LOWMEM_INLINE Float16 only(Float16 x, AllLanes) { return x; }
LOWMEM_INLINE Float16 only(Float16 x, SomeLanes lanes) {
  for (int64_t k = lanes.count; k < kLanes; ++k) x[k] = 0;
  return x;
}

// As round_to_nearest() and round_stochastically() of elements.h.
LOWMEM_INLINE Half16 round_to_nearest(Float16 x) {
  const Word16 bits = as_words(x);
  const Word16 rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const Word16 quiet = (bits >> 16) | 0x40;
  const auto nan = (bits & 0x7fffffff) > 0x7f800000;
  return __builtin_convertvector(nan ? quiet : rounded, Half16);
}
LOWMEM_INLINE Half16 round_stochastically(Float16 x, Half16 noise) {
  const Word16 bits = as_words(x);
  const Word16 rounded = (bits + __builtin_convertvector(noise, Word16)) >> 16;
  const Word16 special = (bits >> 16) | ((bits & 0x7fffff) != 0 ? Word16{} + 0x40
                                                                : Word16{});
  const auto finite = (bits & 0x7f800000) != 0x7f800000;
  return __builtin_convertvector(finite ? rounded : special, Half16);
}

template <class Lanes>
LOWMEM_INLINE void store(float* to, Float16 x, Lanes lanes) {
  std::memcpy(to, &x, static_cast<size_t>(lanes.count) * sizeof *to);
}
template <class Lanes>
LOWMEM_INLINE void store_halves(Bf16* to, Half16 x, Lanes lanes) {
  std::memcpy(to, &x, static_cast<size_t>(lanes.count) * sizeof *to);
}
template <class Lanes>
LOWMEM_INLINE void store(Bf16* to, Float16 x, Lanes lanes) {
  store_halves(to, round_to_nearest(x), lanes);
}

LOWMEM_INLINE Float16 square_root(Float16 x) {
  Float16 root;
  for (int i = 0; i < kLanes; ++i) root[i] = __builtin_sqrtf(x[i]);
  return root;
}

// e^x to 2 units in the last place, for x <= 88; 0 below -87.3. NaN stays NaN.
LOWMEM_INLINE Float16 exponential(Float16 x) {
  const Float16 bounded = x > 88.0f ? splat(88.0f) : x;
  const auto tiny = bounded < -87.3f;
  // x = n log(2) + r with |r| <= log(2) / 2; the sum with 1.5 * 2^23 rounds to integers.
  constexpr float kShift = 12582912.0f;
  const Float16 shifted = bounded * 1.44269504f + kShift;
  const Float16 n = shifted - kShift;
  const Float16 r = (bounded - n * 0.693359375f) + n * 2.12194440e-4f;
  Float16 p = splat(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  const Word16 scale = (as_words(shifted) - (0x4b400000u - 127u)) << 23;
  return tiny ? Float16{} : p * as_floats(scale);
}

LOWMEM_INLINE float largest(Float16 x) {
  float most = x[0];
  for (int i = 1; i < kLanes; ++i) most = x[i] > most ? x[i] : most;
  return most;
}

// The lanes' sum, always in the same order.
LOWMEM_INLINE float sum(Float16 x) {
  float by_four[4];
  for (int i = 0; i < 4; ++i) by_four[i] = (x[i] + x[i + 4]) + (x[i + 8] + x[i + 12]);
  return (by_four[0] + by_four[1]) + (by_four[2] + by_four[3]);
}

// A sum in double of many vectors of floats.
struct DoubleSum {
  Double8 low{}, high{};

  LOWMEM_INLINE void add(Float16 x) {
    Float8 halves[2];
    std::memcpy(halves, &x, sizeof x);
    low += __builtin_convertvector(halves[0], Double8);
    high += __builtin_convertvector(halves[1], Double8);
  }
  LOWMEM_INLINE void add_square(Float16 x) {
    Float8 halves[2];
    std::memcpy(halves, &x, sizeof x);
    const Double8 first = __builtin_convertvector(halves[0], Double8);
    const Double8 second = __builtin_convertvector(halves[1], Double8);
    low += first * first;
    high += second * second;
  }
  LOWMEM_INLINE double total() const {
    const Double8 both = low + high;
    return ((both[0] + both[4]) + (both[1] + both[5])) +
           ((both[2] + both[6]) + (both[3] + both[7]));
  }
};

// The same at half the cost: sixteen vectors are added up in fp32 before they go to
// double, which loses no more than a few units of the last place.
struct BlockSum {
  DoubleSum sum;
  Float16 block{};
  int count = 0;

  LOWMEM_INLINE void add(Float16 x) {
    block += x;
    if (++count < 16) return;
    sum.add(block);
    block = Float16{};
    count = 0;
  }
  LOWMEM_INLINE double total() {
    sum.add(block);
    return sum.total();
  }
};

}  // namespace lowmem::kernels::LOWMEM_ISA
