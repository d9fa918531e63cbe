#include <cuda_runtime_api.h>

#include "lowmem/core/error.h"
#include "lowmem/kernels/device_memory.h"

namespace lowmem::kernels {
namespace {

int attribute(cudaDeviceAttr name, int index) {
  int value = 0;
  if (cudaDeviceGetAttribute(&value, name, index) == cudaSuccess) return value;
  cudaGetLastError();
  return 0;
}

}  // namespace

bool built_with_cuda() { return true; }

int cuda_device_count() {
  int count = 0;
  // Without a driver this fails; the sticky error must not surprise the next call.
  if (cudaGetDeviceCount(&count) != cudaSuccess) {
    cudaGetLastError();
    return 0;
  }
  return count;
}

int cuda_capability(int index) {
  return attribute(cudaDevAttrComputeCapabilityMajor, index);
}

int cuda_multiprocessors(int index) {
  return attribute(cudaDevAttrMultiProcessorCount, index);
}

DeviceMemory cuda_device_memory(int index) {
  size_t free = 0, total = 0;
  cudaError_t status = cudaSetDevice(index);
  if (status == cudaSuccess) status = cudaMemGetInfo(&free, &total);
  if (status != cudaSuccess) {
    cudaGetLastError();
    throw Error(
        "GPU " + std::to_string(index),
        std::string("does not report its memory (") + cudaGetErrorString(status) + ")",
        "Check it with nvidia-smi, or set memory.device = cpu");
  }
  return {static_cast<int64_t>(total - free), static_cast<int64_t>(total)};
}

void* cuda_pin(void* memory, size_t bytes) {
  void* address = nullptr;
  cudaError_t status = cudaHostRegister(memory, bytes, cudaHostRegisterMapped);
  if (status == cudaSuccess) {
    status = cudaHostGetDevicePointer(&address, memory, 0);
    if (status != cudaSuccess) cudaHostUnregister(memory);
  }
  if (status == cudaSuccess) return address;
  cudaGetLastError();
  throw Error(
      std::to_string(bytes) + " bytes of the host's memory",
      std::string("cannot be locked at their place for the GPU (") +
          cudaGetErrorString(status) + ")",
      "Leave memory.weights, memory.states and memory.kept on the device, or give "
      "the machine more memory");
}

void cuda_unpin(void* memory) { cudaHostUnregister(memory); }

}  // namespace lowmem::kernels
