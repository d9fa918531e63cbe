#pragma once

// Numbers of [-1, 1] or [0, 1] as codes of 8 bits: the dynamic maps of bitsandbytes
// (create_dynamic_map), bit for bit. Dettmers et al. 2022, "8-bit Optimizers via
// Block-wise Quantization".
//
// The levels of one sign are 0, the middles of the cells of seven decades from 1e-6 to 1,
// each of which is cut into twice as many equal cells as the one before, and 1. Unsigned
// codes number them from 0. Signed ones have cells twice as wide; code 127 is 0, 255 is
// 1, and there is no -1: the least, code 0, is -0.993.
//
// A number becomes the nearest level's code; half-way between two, that of the one nearer
// to 0. bitsandbytes' CUDA kernels depart from this: a negative number that is nearest to
// 0 takes the code below there, so that it never gets to 0.

#include <array>
#include <bit>
#include <cstdint>

#include "lowmem/kernels/elements.h"

namespace lowmem::kernels {

namespace dynamic_map {

// The levels of one sign, rising. The first decade has kCells cells.
template <int kCells>
constexpr auto make_levels() {
  constexpr float kEnds[] = {1e-6f, 1e-5f, 1e-4f, 1e-3f, 1e-2f, 1e-1f, 1};
  std::array<float, 127 * kCells + 2> levels{};
  size_t next = 1;
  for (int decade = 0; decade < 7; ++decade) {
    const int cells = kCells << decade;
    const float width = (1 - 0.1f) / static_cast<float>(cells);
    // torch.linspace: from the nearer end, and a product and a sum rounded once.
    const auto edge = [&](int k) {
      return static_cast<float>(k < (cells + 1) / 2 ? double{0.1f} + double{width} * k
                                                    : 1 - double{width} * (cells - k));
    };
    for (int k = 0; k < cells; ++k)
      levels[next++] = kEnds[decade] * ((edge(k) + edge(k + 1)) / 2);
  }
  levels[next] = 1;
  return levels;
}

// The largest float that is nearer to `low` than to `high`, or as near.
constexpr float middle_of(float low, float high) {
  const double middle = (double{low} + double{high}) / 2;  // exact
  const float rounded = static_cast<float>(middle);
  return double{rounded} <= middle
             ? rounded
             : std::bit_cast<float>(std::bit_cast<uint32_t>(rounded) - 1);
}

// Below it everything is nearest to 0.
constexpr float kLeast = 0x1p-23f;

// nearest(): the entry for a number's upper 16 bits plus its lower 16 bits has the level
// above those. So an entry is the level of the numbers it begins with, and what carries
// into it from the number on that is nearer to the next level.
using Entries = std::array<uint32_t, 23 * 128 + 1>;  // kLeast to 1
constexpr uint32_t kFirstEntry = std::bit_cast<uint32_t>(kLeast) >> 16;

template <size_t kCount>
constexpr Entries make_entries(const std::array<float, kCount>& levels) {
  Entries entries{};
  uint32_t level = 0;
  for (uint32_t i = 0; i < entries.size(); ++i) {
    const uint32_t begin = (kFirstEntry + i) << 16;
    // Of the numbers above the middle: how far the first of them is from `begin`.
    const auto next = [&] {
      return std::bit_cast<uint32_t>(middle_of(levels[level], levels[level + 1])) + 1;
    };
    while (level + 1 < kCount && next() <= begin) ++level;
    entries[i] = level << 16;
    if (level + 1 < kCount && next() < begin + 0x10000) {
      entries[i] += 0x10000 - (next() - begin);
      const uint32_t own = level++;
      if (level + 1 < kCount && next() < begin + 0x10000) throw "two in one entry";
      level = own;
    }
  }
  return entries;
}

}  // namespace dynamic_map

// What code c stands for; the place of the nearest level; and up to where that is 0.
template <class Code>
struct DynamicMap {
  static constexpr bool kSigned = std::is_same_v<Code, SignedCode>;
  static constexpr int kZero = kSigned ? 127 : 0;

  float value[256] = {};
  uint32_t entry[dynamic_map::Entries{}.size()] = {};
  float most_lost = 0;

  constexpr DynamicMap() {
    const auto levels = dynamic_map::make_levels < kSigned ? 1 : 2 > ();
    for (int code = 0; code < 256; ++code)
      value[code] = code < kZero ? -levels[static_cast<size_t>(kZero - code)]
                                 : levels[static_cast<size_t>(code - kZero)];
    const auto entries = dynamic_map::make_entries(levels);
    for (size_t i = 0; i < entries.size(); ++i) entry[i] = entries[i];
    most_lost = dynamic_map::middle_of(levels[0], levels[1]);
  }
};

// The code nearest to x, of [-1, 1] or [0, 1]. NaN's is that of 0: so a block that is all
// 0, divided by its scale 0, stays 0.
template <class Code>
constexpr Code nearest_code(const DynamicMap<Code>& map, float x) {
  using Map = DynamicMap<Code>;
  const bool negative = Map::kSigned && x < 0;
  const float size = negative ? -x : x;
  const float bounded = size > dynamic_map::kLeast ? size : dynamic_map::kLeast;
  const uint32_t bits = std::bit_cast<uint32_t>(bounded);
  const uint32_t sum =
      map.entry[(bits >> 16) - dynamic_map::kFirstEntry] + (bits & 0xffff);
  const int level = static_cast<int>(sum >> 16);
  if (!negative) return {static_cast<uint8_t>(Map::kZero + level)};
  return {static_cast<uint8_t>(level < Map::kZero ? Map::kZero - level : 0)};
}

}  // namespace lowmem::kernels
