#pragma once

// What device kernels are written with. Under nvcc this is CUDA; elsewhere, in tests, it
// is the emulation of tests/emulation, which runs a block's threads one after another.
//
// All of it lives in namespace LOWMEM_DEVICE, as the kernels do, so that one program can
// hold both.

#include <cfloat>
#include <cstdint>

#include "lowmem/kernels/elements.h"
#include "lowmem/kernels/stream.h"

#ifdef __CUDACC__
#include "cuda_launch.h"
#else
#include "emulation/cuda.h"
#endif

namespace lowmem::kernels::LOWMEM_DEVICE {

constexpr int kWarp = 32;
constexpr int kMostThreads = 256;  // a block has no more in any kernel here
constexpr int kMostWarps = kMostThreads / kWarp;
constexpr uint32_t kAllLanes = 0xffffffff;

// Numbers that a thread handles at once: 16 bytes of bf16, or twice 16 bytes of fp32.
constexpr int kEight = 8;

__host__ __device__ constexpr int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

// Threads of a block that goes along a row of `columns` numbers: whole warps.
inline int threads_for(int64_t columns) {
  const int64_t warps = ceil_div(columns, kEight * kWarp);
  return kWarp * static_cast<int>(warps < 1            ? 1
                                  : warps > kMostWarps ? kMostWarps
                                                       : warps);
}

__device__ inline int lane() { return static_cast<int>(threadIdx.x) % kWarp; }
__device__ inline int warp() { return static_cast<int>(threadIdx.x) / kWarp; }
__device__ inline int warps() { return static_cast<int>(blockDim.x) / kWarp; }

// A thread's place among all threads of the grid.
__device__ inline int64_t grid_thread() {
  return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ inline int64_t grid_threads() {
  return static_cast<int64_t>(gridDim.x) * blockDim.x;
}

// The lanes' sum, by halves; the same bits in every lane. All lanes must take part.
template <class T>
__device__ T warp_sum(T x) {
  LOWMEM_UNROLL
  for (int k = kWarp / 2; k > 0; k /= 2) x += __shfl_xor_sync(kAllLanes, x, k);
  return x;
}

// The lanes' largest number. NaN does not count.
__device__ inline float larger(float a, float b) { return b > a ? b : a; }
__device__ inline float warp_largest(float x) {
  LOWMEM_UNROLL
  for (int k = kWarp / 2; k > 0; k /= 2) x = larger(x, __shfl_xor_sync(kAllLanes, x, k));
  return x;
}

// Over all threads of a block, each of which must call it: the warps' results combined in
// their order, the same bits in every thread.
template <class T, class Combine>
__device__ T over_warps(T of_warp, Combine combine) {
  LOWMEM_BLOCK_ARRAY(T, results, kMostWarps);
  if (lane() == 0) results[warp()] = of_warp;
  __syncthreads();
  T all = results[0];
  for (int k = 1; k < warps(); ++k) all = combine(all, results[k]);
  __syncthreads();  // before `results` is written again
  return all;
}
template <class T>
__device__ T block_sum(T x) {
  return over_warps(warp_sum(x), [](T a, T b) { return a + b; });
}
__device__ inline float block_largest(float x) {
  return over_warps(warp_largest(x), [](float a, float b) { return larger(a, b); });
}

// Calls use(i, read(i)) in order for i = first, first + step, ... below end, with kAhead
// reads under way at once. Where few threads go through much, each would otherwise wait
// for its memory most of the time.
template <int kAhead, class Read, class Use>
__device__ void read_ahead(int64_t first, int64_t end, int64_t step, Read read, Use use) {
  for (int64_t i = first; i < end; i += kAhead * step) {
    decltype(read(i)) got[kAhead];
    LOWMEM_UNROLL
    for (int k = 0; k < kAhead; ++k) got[k] = read(i + k * step < end ? i + k * step : i);
    LOWMEM_UNROLL
    for (int k = 0; k < kAhead; ++k)
      if (i + k * step < end) use(i + k * step, got[k]);
  }
}
// So for [0, count), shared out over the threads of the one block of a grid.
template <class Read, class Use>
__device__ void for_each_of_block(int64_t count, Read read, Use use) {
  read_ahead<8>(threadIdx.x, count, blockDim.x, read, use);
}
// The sum of `count` numbers, the same bits in each thread of the block.
__device__ inline double sum_over_block(const double* numbers, int64_t count) {
  double own = 0;
  for_each_of_block(
      count, [&](int64_t i) { return numbers[i]; }, [&](int64_t, double x) { own += x; });
  return block_sum(own);
}

// Whether a squared norm is within fp32's range. NaN is not.
__device__ inline bool within_range(double x) { return x <= FLT_MAX; }

// Whether an update may write, and the factor of its gradient.
__device__ inline bool may_write(const Pending& pending) {
  return pending.squared_norm == nullptr || within_range(*pending.squared_norm);
}
__device__ inline float scale_of(float scale, const Pending& pending) {
  return pending.scale == nullptr ? scale : scale * *pending.scale;
}
// Noise of the step that is made.
__device__ inline Noise noise_of_step(Noise noise, const Pending& pending) {
  if (pending.step != nullptr) noise.step = pending.step->step;
  return noise;
}

}  // namespace lowmem::kernels::LOWMEM_DEVICE
