#include "lowmem/memory/meter.h"

#include <c10/util/Exception.h>
#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <new>
#include <string_view>

#include "addresses.h"
#include "allocator.h"
#include "cpu_ledger.h"
#include "lowmem/core/units.h"
#include "lowmem/kernels/device_memory.h"
#include "lowmem/memory/gpu.h"
#include "lowmem/memory/limits.h"
#include "lowmem/memory/rehearsal.h"

namespace lowmem::memory {
namespace {

// It has one word for all that can fail: "could not create a primitive".
bool is_of_onednn(const std::exception& failure) {
  const std::string_view text = failure.what();
  return text.starts_with("could not ") &&
         (text.find("primitive") != text.npos || text.find("memory") != text.npos ||
          text.find("engine") != text.npos || text.find("stream") != text.npos);
}

c10::Device g_device = c10::kCPU;
int64_t g_device_used = 0;

}  // namespace

void install() {
  static const bool once = [] {
    // LibTorch and oneDNN each keep what is compiled for a shape of a product, by default
    // 1,024 of them, some hundred KiB each: over steps of ever new lengths more than all
    // activations. A step meets about fifty.
    setenv("LRU_CACHE_CAPACITY", "64", /*overwrite=*/0);
    setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "96", /*overwrite=*/0);
    // Otherwise malloc takes a freed large block for a reason to keep more, up to 64 MiB.
    mallopt(M_MMAP_THRESHOLD, 128 * 1024);
    mallopt(M_TRIM_THRESHOLD, 128 * 1024);
    // A heap for each thread takes 64 MiB of addresses, used or not.
    if (address_limit() < machine_bytes()) mallopt(M_ARENA_MAX, 1);
    install_allocator();
    measure_program();
    return true;
  }();
  static_cast<void>(once);
}

void measure(c10::Device device) {
  g_device = device;
  gpu_ledger().follow(device);
  for (Ledger* ledger : ledgers()) ledger->reset_peaks();
}

c10::Device device() { return g_device; }

int64_t total_bytes() {
  return g_device.is_cpu() ? std::min(machine_bytes(), address_limit())
                           : kernels::cuda_device_memory(g_device.index()).total;
}

int64_t free_bytes() {
  if (!g_device.is_cpu()) {
    const auto [used, total] = kernels::cuda_device_memory(g_device.index());
    return total - used;
  }
  // What the system has available lacks already what the process holds now.
  const int64_t now = host_ledger().current();
  return std::max<int64_t>(0, std::min(available_bytes() + now - kProgramGrowth,
                                       machine_bytes() - measured_program()));
}

int64_t program_bytes() { return measured_program(); }

void return_free_memory() {
  if (rehearsing()) return addresses().trim();
  trim_blocks();
  malloc_trim(0);
  measure_program();
  if (!g_device.is_cpu()) return_free_gpu_memory(g_device);
}

int64_t device_used_bytes() {
  if (!g_device.is_cpu())
    g_device_used =
        std::max(g_device_used, kernels::cuda_device_memory(g_device.index()).used);
  return g_device_used;
}

int64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t total = 0, resident = 0;
  statm >> total >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

int64_t peak_resident_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

std::string asked_of(const std::exception& failure) {
  if (const auto* known = dynamic_cast<const OutOfMemory*>(&failure))
    return format_bytes(known->asked());
  if (dynamic_cast<const std::bad_alloc*>(&failure) != nullptr) return "more bytes";
  if (dynamic_cast<const c10::OutOfMemoryError*>(&failure) == nullptr)
    // Under a limit on the process it is what there is to fail for, though what it asked
    // for at once may have been more than the reserve that is there again.
    return is_of_onednn(failure) && (!has_reserve() || address_limit() < machine_bytes())
               ? "more bytes"
               : "";
  // "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ..."
  const std::string text = failure.what(), before = "Tried to allocate ";
  const size_t start = text.find(before);
  if (start == std::string::npos) return "more bytes";
  const size_t from = start + before.size();
  return text.substr(from, text.find(". ", from) - from);
}

}  // namespace lowmem::memory
