#pragma once

// Noise::at() for many elements at once: a register of Philox counters, each of which
// gives eight elements their bits.

#include "vector.h"

namespace lowmem::kernels::LOWMEM_ISA {

// 64-bit lanes that hold 32-bit numbers. What is above those does not matter but at the
// end.
using Counters [[gnu::vector_size(kRegister)]] = uint64_t;

// The whole products of the lanes' 32-bit numbers.
LOWMEM_INLINE Counters product_of_words(Counters a, uint32_t factor) {
  const Counters b = Counters{} + factor;
#if defined(__AVX512F__)
  return reinterpret_cast<Counters>(_mm512_maskz_mul_epu32(
      0xff, reinterpret_cast<Longs>(a), reinterpret_cast<Longs>(b)));
#elif defined(__AVX2__)
  return reinterpret_cast<Counters>(
      _mm256_mul_epu32(reinterpret_cast<Longs>(a), reinterpret_cast<Longs>(b)));
#elif defined(__SSE2__)
  return reinterpret_cast<Counters>(
      _mm_mul_epu32(reinterpret_cast<Longs>(a), reinterpret_cast<Longs>(b)));
#else
  return (a & 0xffffffff) * b;
#endif
}

class NoiseStream {
 public:
  // The most elements that fill() takes.
  static constexpr int64_t kMost = 512;

  explicit NoiseStream(const Noise& noise) : noise_(noise) {
    for (uint32_t round = 0; round < kRounds; ++round) {
      keys_[round][0] = static_cast<uint32_t>(noise.seed) + round * 0x9E3779B9;
      keys_[round][1] = static_cast<uint32_t>(noise.seed >> 32) + round * 0xBB67AE85;
    }
  }

  // Draws the bits of elements [begin, begin + count).
  LOWMEM_INLINE void fill(int64_t begin, int64_t count) {
    first_ = begin / kDrawn * kDrawn;
    for (int64_t i = first_; i < begin + count; i += kDrawn) draw(i);
  }

  // The bits of `element` and those after it, among those last drawn.
  template <class Lanes>
  LOWMEM_INLINE Bits16 at(int64_t element, Lanes lanes) const {
    return load_bits(bits_ + (element - first_), lanes);
  }

 private:
  static constexpr int kRounds = 10;
  static constexpr int64_t kDrawn = kRegister;  // elements that draw() serves

  LOWMEM_INLINE void draw(int64_t element) {
    constexpr uint64_t kLow = 0xffffffff;
#if defined(__AVX512F__)
    constexpr Counters kEach{0, 1, 2, 3, 4, 5, 6, 7};
#elif defined(__AVX2__)
    constexpr Counters kEach{0, 1, 2, 3};
#else
    constexpr Counters kEach{0, 1};
#endif
    const Counters index = kEach + static_cast<uint64_t>(element) / 8;
    Counters x0 = index, x1 = index >> 32;
    Counters x2 = Counters{} + noise_.parameter, x3 = Counters{} + noise_.step;
    for (const auto& key : keys_) {
      const Counters product0 = product_of_words(x0, 0xD2511F53);
      const Counters product1 = product_of_words(x2, 0xCD9E8D57);
      x0 = (product1 >> 32) ^ x1 ^ key[0];
      x1 = product1;
      x2 = (product0 >> 32) ^ x3 ^ key[1];
      x3 = product0;
    }
    // A counter's four words lie in a row, as the elements that they belong to.
    const Counters front = (x0 & kLow) | (x1 << 32), back = (x2 & kLow) | (x3 << 32);
    const Counters rows[2] = {
#if defined(__AVX512F__)
      __builtin_shufflevector(front, back, 0, 8, 1, 9, 2, 10, 3, 11),
      __builtin_shufflevector(front, back, 4, 12, 5, 13, 6, 14, 7, 15)
#elif defined(__AVX2__)
      __builtin_shufflevector(front, back, 0, 4, 1, 5),
      __builtin_shufflevector(front, back, 2, 6, 3, 7)
#else
      __builtin_shufflevector(front, back, 0, 2),
      __builtin_shufflevector(front, back, 1, 3)
#endif
    };
    std::memcpy(bits_ + (element - first_), rows, sizeof rows);
  }

  Noise noise_;
  int64_t first_ = 0;
  uint64_t keys_[kRounds][2];  // 32-bit numbers
  uint16_t bits_[kMost + 2 * kDrawn];
};

}  // namespace lowmem::kernels::LOWMEM_ISA
