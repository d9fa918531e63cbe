// Memory of the GPU, which is memory of the host: pages that nobody has written, read as
// zeros and take no room, so that models larger than this machine can be walked through.
//
// FAKE_GPU_MEMORY       bytes of the GPU, by default an H200's
// FAKE_GPU_DROP_COPIES  copies of so many bytes and more to the GPU are counted, not done
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "fake_gpu/fake.h"

namespace lowmem::fake_gpu {
namespace {

constexpr size_t kH200 = 150'754'820'096;
constexpr size_t kGranularity = 2 << 20;  // of an allocation

struct Range {
  size_t bytes;
  MemoryKind kind;
};
// By first address.
std::map<const char*, Range>& ranges() {
  static auto* all = new std::map<const char*, Range>;
  return *all;
}
size_t used = 0;

const std::pair<const char* const, Range>* range_around(const void* address) {
  const auto* byte = static_cast<const char*>(address);
  const auto after = ranges().upper_bound(byte);
  if (after == ranges().begin()) return nullptr;
  const auto found = std::prev(after);
  return byte < found->first + found->second.bytes ? &*found : nullptr;
}

size_t rounded(size_t bytes) { return (bytes + kGranularity - 1) & ~(kGranularity - 1); }

void* map_pages(size_t bytes) {
  void* address = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED) return nullptr;
  madvise(address, bytes, MADV_NOHUGEPAGE);
  return address;
}

// What a copy or fill must not touch; empty: nothing to complain about.
cudaError_t check_device(const char* call, const void* address, size_t bytes) {
  if (on_device(address, bytes)) return cudaSuccess;
  return refuse(call, cudaErrorInvalidValue,
                std::to_string(bytes) + " bytes that are not memory of the GPU");
}

cudaError_t copy(const char* call, void* to, const void* from, size_t bytes,
                 cudaMemcpyKind kind, cudaStream_t stream, bool waits) {
  if (bytes == 0) return cudaSuccess;
  FAKE_GPU_LOCK;
  if (kind == cudaMemcpyDefault) {
    const bool device_to = kind_of(to) == MemoryKind::kDevice;
    const bool device_from = kind_of(from) == MemoryKind::kDevice;
    kind = device_to ? (device_from ? cudaMemcpyDeviceToDevice : cudaMemcpyHostToDevice)
                     : (device_from ? cudaMemcpyDeviceToHost : cudaMemcpyHostToHost);
  }
  const bool device_to =
      kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool device_from =
      kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  if (device_to)
    if (const cudaError_t status = check_device(call, to, bytes)) return status;
  if (device_from)
    if (const cudaError_t status = check_device(call, from, bytes)) return status;
  const bool pageable = (!device_to && kind_of(to) == MemoryKind::kPageable) ||
                        (!device_from && kind_of(from) == MemoryKind::kPageable);
  if (pageable && capture_of(stream) != nullptr) {
    invalidate(capture_of(stream));
    return refuse(call, cudaErrorStreamCaptureUnsupported,
                  "a captured copy from or to pageable memory");
  }
  Work work;
  work.kind = Work::Kind::kCopy;
  work.name = device_to ? (device_from ? "device_to_device" : "host_to_device")
                        : (device_from ? "device_to_host" : "host_to_host");
  if (pageable) work.name += ", pageable";
  work.bytes = bytes;
  const size_t dropped = setting("FAKE_GPU_DROP_COPIES");
  if (!device_to || dropped == 0 || bytes < dropped)
    work.run = [=] { memmove(to, from, bytes); };
  trace("copy %s, %zu bytes, stream %p", work.name.c_str(), bytes,
        static_cast<void*>(stream));
  if (const cudaError_t status = put(call, stream, std::move(work))) return status;
  if (waits) return wait_for_stream(call, stream);
  // The call returns when pageable memory has been read or written.
  if (pageable) return wait_for_stream("a copy from or to pageable memory", stream);
  return cudaSuccess;
}

void do_fill(void* to, int byte, size_t bytes) {
  // Whole pages of zeros are given back instead of written.
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<uintptr_t>(to), end = begin + bytes;
  const uintptr_t first = (begin + page - 1) & ~(page - 1), last = end & ~(page - 1);
  if (byte != 0 || last <= first) {
    memset(to, byte, bytes);
    return;
  }
  memset(to, 0, first - begin);
  madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
  memset(reinterpret_cast<void*>(last), 0, end - last);
}

cudaError_t fill(const char* call, void* to, int byte, size_t bytes,
                 cudaStream_t stream) {
  if (bytes == 0) return cudaSuccess;
  FAKE_GPU_LOCK;
  if (const cudaError_t status = check_device(call, to, bytes)) return status;
  Work work;
  work.kind = Work::Kind::kFill;
  work.bytes = bytes;
  work.run = [=] { do_fill(to, byte, bytes); };
  return put(call, stream, std::move(work));
}

}  // namespace

MemoryKind kind_of(const void* address) {
  const auto* range = range_around(address);
  return range == nullptr ? MemoryKind::kPageable : range->second.kind;
}

bool on_device(const void* address, size_t bytes) {
  const auto* byte = static_cast<const char*>(address);
  const char* end = byte + bytes;
  do {  // neighbouring ranges may have been mapped one by one
    const auto* range = range_around(byte);
    if (range == nullptr || range->second.kind != MemoryKind::kDevice) return false;
    byte = range->first + range->second.bytes;
  } while (byte < end);
  return true;
}

size_t total_bytes() {
  const size_t limit = setting("FAKE_GPU_MEMORY");
  return limit == 0 ? kH200 : limit;
}
size_t free_bytes() { return total_bytes() - used; }

bool take(size_t bytes) {
  if (bytes > free_bytes()) return false;
  used += bytes;
  count_memory(used);
  return true;
}
void give_back(size_t bytes) {
  used -= bytes;
  count_memory(used);
}

void add_device_range(void* address, size_t bytes) {
  ranges()[static_cast<char*>(address)] = {bytes, MemoryKind::kDevice};
}
void remove_device_range(void* address) { ranges().erase(static_cast<char*>(address)); }

FAKE_GPU_API cudaError_t cudaMalloc(void** address, size_t bytes) {
  FAKE_GPU_LOCK;
  trace("cudaMalloc %zu", bytes);
  if (const cudaError_t status = check_unsafe("cudaMalloc")) return status;
  const size_t whole = rounded(bytes);
  if (!take(whole)) return fail(cudaErrorMemoryAllocation);
  *address = map_pages(whole);
  add_device_range(*address, whole);
  return cudaSuccess;
}

// Waits for the device, as the real one does.
FAKE_GPU_API cudaError_t cudaFree(void* address) {
  if (address == nullptr) return cudaSuccess;
  FAKE_GPU_LOCK;
  trace("cudaFree");
  if (const cudaError_t status = check_unsafe("cudaFree")) return status;
  const auto found = ranges().find(static_cast<char*>(address));
  if (found == ranges().end() || found->second.kind != MemoryKind::kDevice)
    return refuse("cudaFree", cudaErrorInvalidValue, "not an allocation of the GPU");
  count_host_wait("cudaFree");
  finish_all();
  give_back(found->second.bytes);
  munmap(address, found->second.bytes);
  ranges().erase(found);
  return cudaSuccess;
}

FAKE_GPU_API cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  FAKE_GPU_LOCK;
  *free = free_bytes();
  *total = total_bytes();
  return cudaSuccess;
}

FAKE_GPU_API cudaError_t cudaHostAlloc(void** address, size_t bytes, unsigned) {
  FAKE_GPU_LOCK;
  trace("cudaHostAlloc %zu", bytes);
  if (const cudaError_t status = check_unsafe("cudaHostAlloc")) return status;
  *address = map_pages(bytes);
  if (*address == nullptr) return fail(cudaErrorMemoryAllocation);
  ranges()[static_cast<char*>(*address)] = {bytes, MemoryKind::kPinned};
  return cudaSuccess;
}
FAKE_GPU_API cudaError_t cudaMallocHost(void** address, size_t bytes) {
  return cudaHostAlloc(address, bytes, 0);
}
FAKE_GPU_API cudaError_t cudaFreeHost(void* address) {
  if (address == nullptr) return cudaSuccess;
  FAKE_GPU_LOCK;
  if (const cudaError_t status = check_unsafe("cudaFreeHost")) return status;
  const auto found = ranges().find(static_cast<char*>(address));
  if (found == ranges().end() || found->second.kind != MemoryKind::kPinned)
    return refuse("cudaFreeHost", cudaErrorInvalidValue, "not pinned memory");
  count_host_wait("cudaFreeHost");
  finish_all();
  munmap(address, found->second.bytes);
  ranges().erase(found);
  return cudaSuccess;
}
FAKE_GPU_API cudaError_t cudaHostRegister(void* address, size_t bytes, unsigned) {
  FAKE_GPU_LOCK;
  trace("cudaHostRegister %zu", bytes);
  ranges()[static_cast<char*>(address)] = {bytes, MemoryKind::kPinned};
  return cudaSuccess;
}
FAKE_GPU_API cudaError_t cudaHostUnregister(void* address) {
  FAKE_GPU_LOCK;
  finish_all();
  ranges().erase(static_cast<char*>(address));
  return cudaSuccess;
}

FAKE_GPU_API cudaError_t cudaHostGetDevicePointer(void** address, void* of, unsigned) {
  FAKE_GPU_LOCK;
  if (kind_of(of) != MemoryKind::kPinned)
    return refuse("cudaHostGetDevicePointer", cudaErrorInvalidValue, "not pinned memory");
  *address = of;
  return cudaSuccess;
}

FAKE_GPU_API cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes,
                                                  const void* address) {
  FAKE_GPU_LOCK;
  *attributes = {};
  switch (kind_of(address)) {
    case MemoryKind::kDevice:
      attributes->type = cudaMemoryTypeDevice;
      break;
    case MemoryKind::kPinned:
      attributes->type = cudaMemoryTypeHost;
      break;
    case MemoryKind::kPageable:
      attributes->type = cudaMemoryTypeUnregistered;
      break;
  }
  attributes->devicePointer = const_cast<void*>(address);
  if (attributes->type != cudaMemoryTypeDevice)
    attributes->hostPointer = const_cast<void*>(address);
  return cudaSuccess;
}

FAKE_GPU_API cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes,
                                    cudaMemcpyKind kind) {
  return copy("cudaMemcpy", to, from, bytes, kind, nullptr, /*waits=*/true);
}
FAKE_GPU_API cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes,
                                         cudaMemcpyKind kind, cudaStream_t stream) {
  return copy("cudaMemcpyAsync", to, from, bytes, kind, stream, /*waits=*/false);
}
FAKE_GPU_API cudaError_t cudaMemset(void* to, int byte, size_t bytes) {
  return fill("cudaMemset", to, byte, bytes, nullptr);
}
FAKE_GPU_API cudaError_t cudaMemsetAsync(void* to, int byte, size_t bytes,
                                         cudaStream_t stream) {
  return fill("cudaMemsetAsync", to, byte, bytes, stream);
}

}  // namespace lowmem::fake_gpu
