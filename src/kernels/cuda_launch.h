#pragma once

// device.h under nvcc.

#include <cuda_runtime.h>

#include <algorithm>
#include <string>

#include "lowmem/core/error.h"
#include "lowmem/kernels/stream.h"

// An array in the block's shared memory.
#define LOWMEM_BLOCK_ARRAY(T, name, count) __shared__ T name[count]
#define LOWMEM_UNROLL _Pragma("unroll")

namespace lowmem::kernels::LOWMEM_DEVICE {

inline void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  throw Error("the GPU", std::string(what) + " (" + cudaGetErrorString(status) + ")",
              "Check it with nvidia-smi, or set memory.device = cpu");
}

// Blocks of a grid whose kernel goes on from where the grid ends: enough for any GPU.
inline int64_t grid_of(int64_t blocks) { return std::min<int64_t>(blocks, 1 << 16); }

// Puts kernel(arguments...) on `stream` with blocks of `threads` threads. No blocks: does
// nothing.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), int64_t blocks, int threads, Stream stream,
            Arguments... arguments) {
  if (blocks == 0) return;
  kernel<<<static_cast<unsigned>(blocks), static_cast<unsigned>(threads), 0,
           static_cast<cudaStream_t>(stream)>>>(arguments...);
  check(cudaGetLastError(), "refused to start a kernel");
}

// Adds to a number that other threads add to as well. Integers only: their sum does not
// depend on the order.
__device__ inline void add_together(int64_t* to, int64_t x) {
  atomicAdd(reinterpret_cast<unsigned long long*>(to),
            static_cast<unsigned long long>(x));
}

}  // namespace lowmem::kernels::LOWMEM_DEVICE
