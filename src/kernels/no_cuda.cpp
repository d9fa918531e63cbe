// The CUDA side of kernels/ in a build for the CPU.
#include "lowmem/core/error.h"
#include "lowmem/kernels/device_memory.h"

namespace lowmem::kernels {

bool built_with_cuda() { return false; }

int cuda_device_count() { return 0; }

int cuda_capability(int) { return 0; }

int cuda_multiprocessors(int) { return 0; }

namespace {

[[noreturn]] void refuse() {
  throw Error("memory.device = cuda", "this lowmem-train was built for the CPU",
              "Build with -DLOWMEM_CUDA=ON, or set memory.device = cpu");
}

}  // namespace

DeviceMemory cuda_device_memory(int) { refuse(); }

void* cuda_pin(void*, size_t) { refuse(); }

void cuda_unpin(void*) { refuse(); }

}  // namespace lowmem::kernels
