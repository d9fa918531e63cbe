#pragma once

// Noise::at() for many elements at once: eight Philox counters, 64 elements, a turn.

#include "vector.h"

namespace lowmem::kernels::LOWMEM_ISA {

using Long8 [[gnu::vector_size(64)]] = uint64_t;

class NoiseStream {
 public:
  // The most elements that fill() takes.
  static constexpr int64_t kMost = 512;

  explicit NoiseStream(const Noise& noise) : noise_(noise) {}

  // Draws the bits of elements [begin, begin + count).
  LOWMEM_INLINE void fill(int64_t begin, int64_t count) {
    first_ = begin / kTurn * kTurn;
    for (int64_t i = first_; i < begin + count; i += kTurn) draw(i);
  }

  // The bits of `element` and those after it, among those last drawn.
  template <class Lanes>
  LOWMEM_INLINE Half16 at(int64_t element, Lanes lanes) const {
    return load_halves(bits_ + (element - first_), lanes);
  }

 private:
  static constexpr int64_t kTurn = 64;

  // 64-bit lanes hold 32-bit numbers; what is above those does not matter but at the end.
  LOWMEM_INLINE void draw(int64_t element) {
    constexpr uint64_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
    constexpr uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
    constexpr uint64_t kLow = 0xffffffff;
    const Long8 index =
        Long8{0, 1, 2, 3, 4, 5, 6, 7} + static_cast<uint64_t>(element) / 8;
    Long8 x0 = index & kLow, x1 = index >> 32;
    Long8 x2 = Long8{} + noise_.parameter, x3 = Long8{} + noise_.step;
    uint32_t key0 = static_cast<uint32_t>(noise_.seed);
    uint32_t key1 = static_cast<uint32_t>(noise_.seed >> 32);
    for (int round = 0; round < 10; ++round) {
      const Long8 product0 = (x0 & kLow) * kMultiplier0;
      const Long8 product1 = (x2 & kLow) * kMultiplier1;
      x0 = (product1 >> 32) ^ x1 ^ key0;
      x1 = product1;
      x2 = (product0 >> 32) ^ x3 ^ key1;
      x3 = product0;
      key0 += kWeyl0;
      key1 += kWeyl1;
    }
    // A counter's four words lie in a row, as the elements that they belong to.
    const Long8 front = (x0 & kLow) | (x1 << 32), back = (x2 & kLow) | (x3 << 32);
    const Long8 rows[2] = {
        __builtin_shuffle(front, back, Long8{0, 8, 1, 9, 2, 10, 3, 11}),
        __builtin_shuffle(front, back, Long8{4, 12, 5, 13, 6, 14, 7, 15})};
    std::memcpy(bits_ + (element - first_), rows, sizeof rows);
  }

  Noise noise_;
  int64_t first_ = 0;
  uint16_t bits_[kMost + 2 * kTurn];
};

}  // namespace lowmem::kernels::LOWMEM_ISA
