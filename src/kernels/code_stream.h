#pragma once

// An optimizer's state in codes of 8 bits (dynamic_map.h).

#include "lowmem/kernels/dynamic_map.h"
#include "vector_bytes.h"
#include "weight_writer.h"

namespace lowmem::kernels::LOWMEM_ISA {

// found[k] = table[at[k]]. One by one: taking indices out of vectors, also by gathering
// instructions, takes longer than loading them.
template <class T, class Index>
LOWMEM_INLINE void look_up(const T* table, const Index* at, int64_t count, T* found) {
#pragma GCC unroll 8
  for (int64_t k = 0; k < count; ++k) {
    uint64_t index = at[k];
    asm("" : "+r"(index));  // for the compiler not to make vectors of it
    std::memcpy(found + k, table + index, sizeof *found);
  }
}

template <class Code>
inline constexpr DynamicMap<Code> kMap;

// What is written to a piece is kept as it is until its end, where the largest of each
// block is known.
template <class Code>
requires kIsCode<Code>
class StateStream<Code> {
 public:
  explicit StateStream(const State& state)
      : codes_(static_cast<uint8_t*>(state.data)), scales_(state.scales) {}

  LOWMEM_INLINE void begin_piece(int64_t begin, int64_t end) {
    first_ = begin;
    look_up(kMap<Code>.value, codes_ + begin, end - begin, values_);
  }
  template <class Lanes>
  LOWMEM_INLINE Float16 read(int64_t i, Lanes lanes) const {
    return load(values_ + (i - first_), lanes) * scale(i);
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
    // As nearest_code() does it.
    uint32_t at[kCodeBlock], found[kCodeBlock];
    for_lanes(begin, end, [&](int64_t i, auto) {
      const Float16 x = written(i) / scale;
      const Float16 size =
          by_register(magnitude(x), [](Floats part) LOWMEM_INLINE_LAMBDA {
            const Floats least = Floats{} + dynamic_map::kLeast;
            return part > least ? part : least;
          });
      const Word16 sign = as_words(x) & 0x80000000;
      store(values_ + (i - first_), as_floats(as_words(size) | sign), AllLanes{});
      const Word16 entry = (as_words(size) >> 16) - dynamic_map::kFirstEntry;
      std::memcpy(at + (i - begin), &entry, sizeof entry);
    });
    look_up(kMap<Code>.entry, at, (end - begin + kLanes - 1) / kLanes * kLanes, found);
    for_lanes(begin, end, [&](int64_t i, auto lanes) {
      Word16 entry;
      std::memcpy(&entry, found + (i - begin), sizeof entry);
      const Byte16 codes = codes_of(written(i), entry);
      std::memcpy(codes_ + i, &codes, static_cast<size_t>(lanes.count));
    });
  }
  LOWMEM_INLINE static Byte16 codes_of(Float16 x, Word16 entry) {
    Word16 level = (entry + (as_words(x) & 0xffff)) >> 16;
    if constexpr (!DynamicMap<Code>::kSigned) return to_bytes(level);
    const Word16 negative = 0 - (as_words(x) >> 31);
    level -= (level >> 7) & negative;  // there is no -1
    return to_bytes(((level ^ negative) - negative) + DynamicMap<Code>::kZero);
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
