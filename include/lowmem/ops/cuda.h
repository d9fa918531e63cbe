#pragma once

#include <c10/core/Device.h>

#include <cstdint>

namespace lowmem::ops {

// Whether this build and this machine have a GPU to train on.
bool has_gpu();

// Makes the first GPU usable and returns it. Loads LibTorch's CUDA library, which a
// program on the CPU does without: 200 MB. Before any backward pass and any look at
// LibTorch's CUDA hooks, since LibTorch asks once whether it has CUDA.
//
// Everything after runs on one stream of its own, from one host thread. The allocator
// gets expandable segments, and cuBLAS 8 MiB of workspace instead of 32, unless the
// environment says otherwise. Throws Error where there is no GPU or no such library.
c10::Device open_gpu();

// What cuBLAS takes at its first product and keeps, as CUBLAS_WORKSPACE_CONFIG says.
int64_t cublas_workspace_bytes();

}  // namespace lowmem::ops
