// The part of the driver's library that LibTorch asks for by name: addresses reserved
// apart from memory, for the allocator's expandable segments.
//
// This library's own name is libcuda.so.1, so that whoever looks for the driver finds it
// loaded already.
#include <cuda.h>
#include <dlfcn.h>
#include <sys/mman.h>

#include <map>

#include "fake_gpu/fake.h"

namespace lowmem::fake_gpu {
namespace {

constexpr size_t kGranularity = 2 << 20;

// What cuMemCreate made: bytes of the GPU, until their release.
struct Piece {
  size_t bytes;
  bool is_mapped = false;
  bool is_released = false;
};
Piece& piece_of(CUmemGenericAllocationHandle handle) {
  return *reinterpret_cast<Piece*>(handle);
}

std::map<CUdeviceptr, Piece*>& mappings() {
  static auto* all = new std::map<CUdeviceptr, Piece*>;
  return *all;
}

void* pointer(CUdeviceptr address) { return reinterpret_cast<void*>(address); }

// Memory goes back to the GPU when it is neither mapped nor held.
void settle(Piece* piece) {
  if (piece->is_mapped || !piece->is_released) return;
  give_back(piece->bytes);
  delete piece;
}

CUresult refuse_driver(const char* call, const char* why) {
  note_refused(call, why);
  return CUDA_ERROR_INVALID_VALUE;
}

}  // namespace

FAKE_GPU_API CUresult cuInit(unsigned) { return CUDA_SUCCESS; }
FAKE_GPU_API CUresult cuGetErrorString(CUresult error, const char** text) {
  *text = error == CUDA_SUCCESS               ? "no error"
          : error == CUDA_ERROR_OUT_OF_MEMORY ? "out of memory"
                                              : "an error of the fake driver";
  return CUDA_SUCCESS;
}
FAKE_GPU_API CUresult cuDeviceGet(CUdevice* device, int ordinal) {
  *device = ordinal;
  return ordinal == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}
FAKE_GPU_API CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute name,
                                           CUdevice) {
  *value = name == CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED
               ? 1
               : attribute(static_cast<cudaDeviceAttr>(name));  // the same numbers
  return CUDA_SUCCESS;
}
FAKE_GPU_API CUresult cuDevicePrimaryCtxGetState(CUdevice, unsigned* flags, int* active) {
  *flags = 0;
  *active = 1;
  return CUDA_SUCCESS;
}
FAKE_GPU_API CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice) {
  return cuCtxGetCurrent(context);
}
FAKE_GPU_API CUresult cuCtxGetCurrent(CUcontext* context) {
  static char only;
  *context = reinterpret_cast<CUcontext>(&only);
  return CUDA_SUCCESS;
}
FAKE_GPU_API CUresult cuCtxSetCurrent(CUcontext) { return CUDA_SUCCESS; }

FAKE_GPU_API CUresult cuMemGetAllocationGranularity(size_t* bytes,
                                                    const CUmemAllocationProp*,
                                                    CUmemAllocationGranularity_flags) {
  *bytes = kGranularity;
  return CUDA_SUCCESS;
}
FAKE_GPU_API CUresult cuMemAddressReserve(CUdeviceptr* address, size_t bytes, size_t,
                                          CUdeviceptr, unsigned long long) {
  void* reserved =
      mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED) return CUDA_ERROR_OUT_OF_MEMORY;
  madvise(reserved, bytes, MADV_NOHUGEPAGE);
  *address = reinterpret_cast<CUdeviceptr>(reserved);
  trace("reserve %zu addresses", bytes);
  return CUDA_SUCCESS;
}
FAKE_GPU_API CUresult cuMemAddressFree(CUdeviceptr address, size_t bytes) {
  munmap(pointer(address), bytes);
  return CUDA_SUCCESS;
}
FAKE_GPU_API CUresult cuMemCreate(CUmemGenericAllocationHandle* handle, size_t bytes,
                                  const CUmemAllocationProp*, unsigned long long) {
  FAKE_GPU_LOCK;
  trace("cuMemCreate %zu", bytes);
  if (bytes == 0 || bytes % kGranularity != 0)
    return refuse_driver("cuMemCreate", "not a multiple of the granularity");
  if (!take(bytes)) return CUDA_ERROR_OUT_OF_MEMORY;
  *handle = reinterpret_cast<CUmemGenericAllocationHandle>(new Piece{bytes});
  return CUDA_SUCCESS;
}
FAKE_GPU_API CUresult cuMemRelease(CUmemGenericAllocationHandle handle) {
  FAKE_GPU_LOCK;
  Piece& piece = piece_of(handle);
  piece.is_released = true;
  settle(&piece);
  return CUDA_SUCCESS;
}
FAKE_GPU_API CUresult cuMemMap(CUdeviceptr address, size_t bytes, size_t offset,
                               CUmemGenericAllocationHandle handle, unsigned long long) {
  FAKE_GPU_LOCK;
  Piece& piece = piece_of(handle);
  if (bytes != piece.bytes || offset != 0 || piece.is_mapped)
    return refuse_driver("cuMemMap", "only whole allocations, and once");
  piece.is_mapped = true;
  mappings()[address] = &piece;
  return CUDA_SUCCESS;
}
FAKE_GPU_API CUresult cuMemSetAccess(CUdeviceptr address, size_t bytes,
                                     const CUmemAccessDesc*, size_t) {
  FAKE_GPU_LOCK;
  const CUdeviceptr end = address + bytes;
  for (auto at = mappings().lower_bound(address);
       at != mappings().end() && at->first < end; ++at) {
    mprotect(pointer(at->first), at->second->bytes, PROT_READ | PROT_WRITE);
    add_device_range(pointer(at->first), at->second->bytes);
  }
  return CUDA_SUCCESS;
}
// What the memory held is gone, though a real one may be mapped again as it was.
FAKE_GPU_API CUresult cuMemUnmap(CUdeviceptr address, size_t bytes) {
  FAKE_GPU_LOCK;
  finish_all();
  for (auto at = mappings().lower_bound(address);
       at != mappings().end() && at->first < address + bytes;) {
    Piece* piece = at->second;
    mmap(pointer(at->first), piece->bytes, PROT_NONE,
         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    madvise(pointer(at->first), piece->bytes, MADV_NOHUGEPAGE);
    remove_device_range(pointer(at->first));
    piece->is_mapped = false;
    settle(piece);
    at = mappings().erase(at);
  }
  return CUDA_SUCCESS;
}

FAKE_GPU_API cudaError_t cudaGetDriverEntryPointByVersion(
    const char* symbol, void** function, unsigned, unsigned long long,
    cudaDriverEntryPointQueryResult* result) {
  *function = dlsym(RTLD_DEFAULT, symbol);
  if (result != nullptr)
    *result = *function != nullptr ? cudaDriverEntryPointSuccess
                                   : cudaDriverEntryPointSymbolNotFound;
  return cudaSuccess;
}

}  // namespace lowmem::fake_gpu
