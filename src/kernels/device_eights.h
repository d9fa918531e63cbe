#pragma once

// Numbers in memory, eight at a time, in registers as fp32.

#include "device.h"

namespace lowmem::kernels::LOWMEM_DEVICE {

struct Eight {
  float at[kEight];
};
struct Bits {
  uint16_t at[kEight];
};

// Which of eight numbers are in use: all, and their memory is aligned to 16 bytes; or
// some, wherever they lie.
struct AllEight {
  static constexpr int begin = 0, end = kEight;
};
struct SomeEight {
  int begin, end;
};

template <class Lanes>
__device__ bool in_use(int k, Lanes lanes) {
  return k >= lanes.begin && k < lanes.end;
}

// f(k) for each of eight numbers in use, by instructions that are known when compiling.
template <class Lanes, class F>
__device__ void for_each(Lanes lanes, F f) {
  LOWMEM_UNROLL
  for (int k = 0; k < kEight; ++k)
    if (in_use(k, lanes)) f(k);
}

// { f(0), f(1), ... }
template <class F>
__device__ Eight eight_of(F f) {
  Eight x;
  LOWMEM_UNROLL
  for (int k = 0; k < kEight; ++k) x.at[k] = f(k);
  return x;
}

struct alignas(16) [[gnu::may_alias]] Sixteen {  // bytes, moved by one instruction
  uint32_t word[4];
};

__device__ inline Eight load(const float* from, AllEight) {
  const Sixteen first = reinterpret_cast<const Sixteen*>(from)[0];
  const Sixteen second = reinterpret_cast<const Sixteen*>(from)[1];
  return eight_of([&](int k) {
    return std::bit_cast<float>(k < 4 ? first.word[k % 4] : second.word[k % 4]);
  });
}
__device__ inline Eight load(const Bf16* from, AllEight) {
  const Sixteen all = *reinterpret_cast<const Sixteen*>(from);
  return eight_of([&](int k) {
    const uint32_t word = all.word[k / 2];
    return std::bit_cast<float>(k % 2 == 0 ? word << 16 : word & 0xffff0000);
  });
}
// Numbers not in use are 0 and are not read.
template <class T>
__device__ Eight load(const T* from, SomeEight lanes) {
  return eight_of([&](int k) { return in_use(k, lanes) ? to_float(from[k]) : 0.0f; });
}

__device__ inline void store(float* to, const Eight& x, AllEight) {
  Sixteen first, second;
  LOWMEM_UNROLL
  for (int k = 0; k < 4; ++k) {
    first.word[k] = std::bit_cast<uint32_t>(x.at[k]);
    second.word[k] = std::bit_cast<uint32_t>(x.at[k + 4]);
  }
  reinterpret_cast<Sixteen*>(to)[0] = first;
  reinterpret_cast<Sixteen*>(to)[1] = second;
}
__device__ inline void store(float* to, const Eight& x, SomeEight lanes) {
  for_each(lanes, [&](int k) { to[k] = x.at[k]; });
}
__device__ inline void store_bits(Bf16* to, const Bits& x, AllEight) {
  Sixteen all;
  LOWMEM_UNROLL
  for (int k = 0; k < 4; ++k)
    all.word[k] = x.at[2 * k] | (static_cast<uint32_t>(x.at[2 * k + 1]) << 16);
  *reinterpret_cast<Sixteen*>(to) = all;
}
__device__ inline void store_bits(Bf16* to, const Bits& x, SomeEight lanes) {
  for_each(lanes, [&](int k) { to[k].bits = x.at[k]; });
}
__device__ inline Bits rounded_to_nearest(const Eight& x) {
  Bits bits;
  LOWMEM_UNROLL
  for (int k = 0; k < kEight; ++k) bits.at[k] = round_to_nearest(x.at[k]).bits;
  return bits;
}
template <class Lanes>
__device__ void store(Bf16* to, const Eight& x, Lanes lanes) {
  store_bits(to, rounded_to_nearest(x), lanes);
}

// Whether eights that begin here can be moved 16 bytes at a time. Null can.
__device__ inline bool aligned(const void* p) {
  return reinterpret_cast<uintptr_t>(p) % sizeof(Sixteen) == 0;
}
template <class... Pointers>
__device__ bool all_aligned(const Pointers*... pointers) {
  return (aligned(pointers) && ...);
}

// Calls f(i, lanes) for the part of [begin, end) that lies in the eight from i on.
// `vectors`: whether whole eights are aligned.
template <class F>
__device__ void with_eight(int64_t i, int64_t begin, int64_t end, bool vectors, F f) {
  if (vectors && i >= begin && i + kEight <= end) {
    f(i, AllEight{});
  } else {
    const int first = i < begin ? static_cast<int>(begin - i) : 0;
    const int last = i + kEight > end ? static_cast<int>(end - i) : kEight;
    f(i, SomeEight{first, last});
  }
}
// So for the eights of [begin, end), which begin at multiples of eight, that fall to
// `thread` of `threads`.
template <class F>
__device__ void for_eights(int64_t begin, int64_t end, int64_t thread, int64_t threads,
                           bool vectors, F f) {
  for (int64_t i = begin / kEight * kEight + kEight * thread; i < end;
       i += kEight * threads)
    with_eight(i, begin, end, vectors, f);
}
// Shared out over a block's threads.
template <class F>
__device__ void for_eights_of_block(int64_t begin, int64_t end, bool vectors, F f) {
  for_eights(begin, end, threadIdx.x, blockDim.x, vectors, f);
}
// Calls f(i, lanes) for the one eight of [begin, end), a multiple of eight and anything,
// that is the thread's, if there is one. No loop: what f needs of every eight, such as
// the keys of its noise, would be made before it and take half of the registers.
template <class F>
__device__ void for_own_eight(int64_t begin, int64_t end, bool vectors, F f) {
  const int64_t i = begin + kEight * grid_thread();
  if (i < end) with_eight(i, begin, end, vectors, f);
}
// The blocks of kMostThreads threads for it.
inline int64_t blocks_of_eights(int64_t count) {
  return ceil_div(count, kEight * kMostThreads);
}

// Calls f(row) for the rows that fall to this block, a block each at a time.
template <class F>
__device__ void for_rows_of_block(int64_t rows, F f) {
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) f(row);
}

// Sum of eight, by halves.
__device__ inline float sum(const Eight& x) {
  return ((x.at[0] + x.at[4]) + (x.at[1] + x.at[5])) +
         ((x.at[2] + x.at[6]) + (x.at[3] + x.at[7]));
}

}  // namespace lowmem::kernels::LOWMEM_DEVICE
