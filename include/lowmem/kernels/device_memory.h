#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace lowmem::kernels {

// What `nvidia-smi` shows of a GPU: memory taken by anyone, contexts and caches included.
struct DeviceMemory {
  int64_t used = 0;   // bytes
  int64_t total = 0;  // bytes
};

// Whether this build has device code at all.
bool built_with_cuda();

// Number of usable GPUs; 0 without a driver, without a GPU, or in a build for the CPU.
int cuda_device_count();

// Major number of GPU `index`'s compute capability, 9 of an H200; 0 where it does not
// say.
int cuda_capability(int index);

// How many blocks of threads GPU `index` runs side by side, at least; 0 where it does not
// say.
int cuda_multiprocessors(int index);

// Memory of GPU `index` as its driver reports it. Throws Error when it does not answer.
DeviceMemory cuda_device_memory(int index);

// Locks memory of the host at its place, so that the GPU copies it by itself, and reads
// and writes it at the address that is returned. Takes some tenths of a second a GiB.
// Throws Error where the system does not allow it.
void* cuda_pin(void* memory, size_t bytes);
// Waits for nothing: copies must be over.
void cuda_unpin(void* memory);

}  // namespace lowmem::kernels
