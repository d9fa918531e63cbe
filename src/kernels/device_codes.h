#pragma once

// An optimizer's state in codes of 8 bits (dynamic_map.h): code_stream.h for the device.
// A warp's eights are a block of codes.

#include "device_writer.h"
#include "lowmem/kernels/dynamic_map.h"

namespace lowmem::kernels::LOWMEM_DEVICE {

static_assert(kCodeBlock == kEight * kWarp);

// In the device's memory, of which the first-level cache keeps what is used.
__device__ constexpr DynamicMap<SignedCode> kSignedMap;
__device__ constexpr DynamicMap<UnsignedCode> kUnsignedMap;
template <class Code>
__device__ const DynamicMap<Code>& map_of() {
  if constexpr (DynamicMap<Code>::kSigned)
    return kSignedMap;
  else
    return kUnsignedMap;
}

struct Codes {
  uint8_t at[kEight];
};
struct alignas(8) [[gnu::may_alias]] EightBytes {
  uint32_t word[2];
};

__device__ inline Codes load_codes(const uint8_t* from, AllEight) {
  const EightBytes all = *reinterpret_cast<const EightBytes*>(from);
  Codes codes;
  LOWMEM_UNROLL
  for (int k = 0; k < kEight; ++k)
    codes.at[k] = static_cast<uint8_t>(all.word[k / 4] >> (8 * (k % 4)));
  return codes;
}
__device__ inline Codes load_codes(const uint8_t* from, SomeEight lanes) {
  Codes codes;
  LOWMEM_UNROLL
  for (int k = 0; k < kEight; ++k) codes.at[k] = in_use(k, lanes) ? from[k] : uint8_t{0};
  return codes;
}
__device__ inline void store_codes(uint8_t* to, const Codes& codes, AllEight) {
  EightBytes all{};
  LOWMEM_UNROLL
  for (int k = 0; k < kEight; ++k)
    all.word[k / 4] |= static_cast<uint32_t>(codes.at[k]) << (8 * (k % 4));
  *reinterpret_cast<EightBytes*>(to) = all;
}
__device__ inline void store_codes(uint8_t* to, const Codes& codes, SomeEight lanes) {
  for_each(lanes, [&](int k) { to[k] = codes.at[k]; });
}

// What is written stays in the threads' registers until finish(), where the largest of
// the warp is known.
template <class Code>
requires kIsCode<Code>
class StateStream<Code> {
 public:
  __device__ explicit StateStream(const State& state)
      : codes_(static_cast<uint8_t*>(state.data)), scales_(state.scales) {}

  __device__ bool vectors() const { return all_aligned(codes_); }

  template <class Lanes>
  __device__ Eight read(int64_t i, Lanes lanes) const {
    const Codes codes = load_codes(codes_ + i, lanes);
    const float scale = scales_[i / kCodeBlock];
    return eight_of([&](int k) {
      return in_use(k, lanes) ? map_of<Code>().value[codes.at[k]] * scale : 0.0f;
    });
  }
  template <class Lanes>
  __device__ void write(int64_t, const Eight& x, Lanes lanes) {
    for_each(lanes, [&](int k) { written_.at[k] = x.at[k]; });
  }
  // The most that numbers from i on may have been where they were read as 0.
  __device__ float most_lost(int64_t i) const {
    return map_of<Code>().most_lost * scales_[i / kCodeBlock];
  }

  // All threads of the grid must call it, of which each wrote its eight of [begin, end),
  // which begins at a block of codes.
  __device__ void finish(int64_t begin, int64_t end) {
    float own = 0;
    LOWMEM_UNROLL
    for (int k = 0; k < kEight; ++k) own = larger(own, fabsf(written_.at[k]));
    const float scale = warp_largest(own);
    for_own_eight(begin, end, vectors(), [&](int64_t i, auto lanes) {
      if (lane() == 0) scales_[i / kCodeBlock] = scale;
      Codes codes;
      LOWMEM_UNROLL
      for (int k = 0; k < kEight; ++k)
        codes.at[k] = nearest_code(map_of<Code>(), written_.at[k] / scale).code;
      store_codes(codes_ + i, codes, lanes);
    });
  }

 private:
  uint8_t* codes_;
  float* scales_;
  Eight written_ = {};
};

}  // namespace lowmem::kernels::LOWMEM_DEVICE
