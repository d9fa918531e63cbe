// One device, with the numbers of an H200 (compute capability 9.0).
#include <cstdio>
#include <cstring>

#include "fake_gpu/fake.h"

namespace lowmem::fake_gpu {
namespace {

constexpr int kProcessors = 132;
constexpr int kL2Bytes = 50 << 20;
constexpr int kSharedOfProcessor = 228 << 10;
constexpr int kRegisters = 65536;
constexpr int kCudaVersion = CUDART_VERSION;

}  // namespace

int attribute(cudaDeviceAttr name) {
  switch (name) {
    case cudaDevAttrComputeCapabilityMajor:
      return 9;
    case cudaDevAttrComputeCapabilityMinor:
      return 0;
    case cudaDevAttrMultiProcessorCount:
      return kProcessors;
    case cudaDevAttrWarpSize:
      return 32;
    case cudaDevAttrMaxThreadsPerBlock:
      return 1024;
    case cudaDevAttrMaxBlockDimX:
    case cudaDevAttrMaxBlockDimY:
      return 1024;
    case cudaDevAttrMaxBlockDimZ:
      return 64;
    case cudaDevAttrMaxGridDimX:
      return 0x7fffffff;
    case cudaDevAttrMaxGridDimY:
    case cudaDevAttrMaxGridDimZ:
      return 65535;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      return 2048;
    case cudaDevAttrMaxBlocksPerMultiprocessor:
      return 32;
    case cudaDevAttrMaxRegistersPerBlock:
    case cudaDevAttrMaxRegistersPerMultiprocessor:
      return kRegisters;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      return int{kSharedMemory};
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      return int{kMostSharedMemory};
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      return kSharedOfProcessor;
    case cudaDevAttrReservedSharedMemoryPerBlock:
      return 1024;
    case cudaDevAttrL2CacheSize:
      return kL2Bytes;
    case cudaDevAttrGlobalMemoryBusWidth:
      return 6144;
    case cudaDevAttrAsyncEngineCount:
      return 3;
    case cudaDevAttrConcurrentKernels:
    case cudaDevAttrUnifiedAddressing:
    case cudaDevAttrCanMapHostMemory:
    case cudaDevAttrStreamPrioritiesSupported:
    case cudaDevAttrCooperativeLaunch:
      return 1;
    default:
      return 0;
  }
}

FAKE_GPU_API cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
FAKE_GPU_API cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
FAKE_GPU_API cudaError_t cudaSetDevice(int device) {
  return device == 0 ? cudaSuccess : fail(cudaErrorInvalidDevice);
}
FAKE_GPU_API cudaError_t cudaDriverGetVersion(int* version) {
  *version = kCudaVersion;
  return cudaSuccess;
}
FAKE_GPU_API cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = kCudaVersion;
  return cudaSuccess;
}
FAKE_GPU_API cudaError_t cudaDeviceCanAccessPeer(int* can, int, int) {
  *can = 0;
  return cudaSuccess;
}
FAKE_GPU_API cudaError_t cudaDeviceGetPCIBusId(char* id, int length, int) {
  snprintf(id, static_cast<size_t>(length), "0000:01:00.0");
  return cudaSuccess;
}
FAKE_GPU_API cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr name, int) {
  *value = attribute(name);
  return cudaSuccess;
}

FAKE_GPU_API cudaError_t cudaGetDeviceProperties(cudaDeviceProp* of, int) {
  *of = {};
  strcpy(of->name, "fake H200");
  of->major = 9;
  of->minor = 0;
  of->totalGlobalMem = total_bytes();
  of->multiProcessorCount = kProcessors;
  of->warpSize = 32;
  of->maxThreadsPerBlock = 1024;
  of->maxThreadsDim[0] = of->maxThreadsDim[1] = 1024;
  of->maxThreadsDim[2] = 64;
  of->maxGridSize[0] = 0x7fffffff;
  of->maxGridSize[1] = of->maxGridSize[2] = 65535;
  of->maxThreadsPerMultiProcessor = 2048;
  of->maxBlocksPerMultiProcessor = 32;
  of->regsPerBlock = of->regsPerMultiprocessor = kRegisters;
  of->sharedMemPerBlock = kSharedMemory;
  of->sharedMemPerBlockOptin = kMostSharedMemory;
  of->sharedMemPerMultiprocessor = kSharedOfProcessor;
  of->reservedSharedMemPerBlock = 1024;
  of->totalConstMem = 64 << 10;
  of->l2CacheSize = kL2Bytes;
  of->memoryBusWidth = attribute(cudaDevAttrGlobalMemoryBusWidth);
  of->textureAlignment = 512;
  of->concurrentKernels = of->unifiedAddressing = of->canMapHostMemory = 1;
  of->streamPrioritiesSupported = of->cooperativeLaunch = 1;
  of->asyncEngineCount = 3;
  of->pciBusID = 1;
  return cudaSuccess;
}

}  // namespace lowmem::fake_gpu
