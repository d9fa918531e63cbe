#pragma once

// What the CPU's and the device's quantizing loops have in common. bitsandbytes takes the
// number of middles between two levels, in fp32, that are strictly below a number: one
// half-way between two levels becomes the lower.

#include "lowmem/kernels/dynamic_map.h"
#include "lowmem/kernels/nf4.h"

// Inlined, so that no instruction set's code is ever called from another's.
#define LOWMEM_SHARED_INLINE [[gnu::always_inline]] constexpr

namespace lowmem::kernels {

struct Nf4Table {
  float level[16] = {};
  float middle[15] = {};

  constexpr Nf4Table() {
    for (size_t i = 0; i < 16; ++i) level[i] = kNf4Levels[i];
    for (size_t i = 0; i < 15; ++i) middle[i] = (level[i] + level[i + 1]) / 2;
  }
};

// The levels of nested scales.
struct AbsmaxTable {
  float level[256] = {};
  float middle[255] = {};

  constexpr AbsmaxTable() {
    const DynamicMap<SignedCode> map;
    for (int i = 0; i < 256; ++i) level[i] = map.value[i];
    for (int i = 0; i < 255; ++i) middle[i] = (level[i] + level[i + 1]) / 2;
  }
  LOWMEM_SHARED_INLINE uint8_t code_of(float x) const {
    int below = 0;  // middles
    for (int step = 128; step > 0; step /= 2)
      below += middle[below + step - 1] < x ? step : 0;
    return static_cast<uint8_t>(below);
  }
};

// A block's scale as it is stored, and what its numbers are multiplied by, or divided by
// in a short block.
struct BlockScale {
  float stored, factor;
  bool whole;

  LOWMEM_SHARED_INLINE BlockScale(float most, bool whole_block)
      : stored(whole_block ? most : bounded(most)),
        factor(whole_block ? 1 / bounded(most) : bounded(most)),
        whole(whole_block) {}
  LOWMEM_SHARED_INLINE static float bounded(float most) {
    return most > 1e-38f ? most : 1e-38f;
  }
  // Of numbers or vectors of them.
  template <class Number>
  LOWMEM_SHARED_INLINE Number fraction(Number x) const {
    return whole ? x * factor : x / factor;
  }
};

// What the scales' mean is added up in: 256 sums, each of every 256th scale, then in each
// 32 of them the upper half to the lower until one is left, then those eight in order.
constexpr int64_t kMeanSums = 256;

LOWMEM_SHARED_INLINE float scale_of(const Nf4View& matrix, const AbsmaxTable& table,
                                    int64_t block) {
  if (matrix.absmax != nullptr) return matrix.absmax[block];
  const float fraction = table.level[matrix.absmax_codes[block]];
  const float offset =
      matrix.offset_there == nullptr ? matrix.offset : *matrix.offset_there;
  return fraction * matrix.nested_absmax[block / kNf4Nested] + offset;
}

}  // namespace lowmem::kernels
