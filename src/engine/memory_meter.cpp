#include "lowmem/engine/memory_meter.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>
#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cassert>
#include <cstring>
#include <fstream>
#include <mutex>

#include "lowmem/core/arena.h"
#include "lowmem/core/error.h"
#include "lowmem/core/units.h"
#include "lowmem/engine/rehearsal.h"
#include "lowmem/kernels/device_memory.h"
#include "lowmem/ops/cuda.h"
#include "machine_memory.h"

namespace lowmem::engine {
namespace {

std::atomic<int64_t> g_current{0};
std::atomic<int64_t> g_phase_peak{0};     // since the phase began
std::atomic<int64_t> g_interval_peak{0};  // since take_peak()
std::atomic<int64_t> g_peak{0};
Phase g_phase = Phase::kNone;
c10::Device g_device = c10::kCPU;
int64_t g_device_used = 0;
std::array<int64_t, kPhases> g_peaks{};

void raise(std::atomic<int64_t>& peak, int64_t value) {
  int64_t seen = peak.load(std::memory_order_relaxed);
  while (seen < value &&
         !peak.compare_exchange_weak(seen, value, std::memory_order_relaxed)) {
  }
}

void count(int64_t bytes) {
  const int64_t now = g_current.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  if (bytes <= 0) return;
  raise(g_phase_peak, now);
  raise(g_interval_peak, now);
  raise(g_peak, now);
}

// What a rehearsal's tensors are for, and what they were for at its peak.
ops::ItemBytes g_items{}, g_items_at_peak{};
int64_t g_peak_of_items = 0;
std::mutex g_items_mutex;

void count_item(ops::Item item, int64_t bytes) {
  const std::scoped_lock lock(g_items_mutex);
  g_items[static_cast<size_t>(item)] += bytes;
  if (bytes > 0 && g_current > g_peak_of_items) {
    g_peak_of_items = g_current;
    g_items_at_peak = g_items;
  }
}

// Before each block, in as many bytes as its alignment needs.
struct Header {
  int64_t bytes;
  ops::Item item;
};
constexpr size_t kHeader = 64;
static_assert(sizeof(Header) <= kHeader);

// Blocks from this size on come from the arena; smaller ones malloc reuses well enough.
constexpr size_t kArenaBlock = 64 * 1024;

// From here on a block is worth asking the system about.
constexpr int64_t kLargeBlock = 16 * kMiB;

Arena& arena() {
  // Twice the addresses: some are lost between blocks.
  static auto* instance = new Arena(2 * static_cast<size_t>(machine_bytes()));
  return *instance;  // never destroyed: tensors may outlive every other static object
}

// A rehearsal's: addresses for more than any machine has, of which next to none is
// written. Null before the first one.
Arena* g_addresses = nullptr;

Arena& addresses() {
  if (g_addresses == nullptr)
    g_addresses = new Arena(static_cast<size_t>(16 * 1024 * kGiB));
  return *g_addresses;  // never destroyed, as arena()
}

void release(void* data) {
  if (data == nullptr) return;
  auto* block = static_cast<std::byte*>(data) - kHeader;
  Header header;
  std::memcpy(&header, block, sizeof header);
  count(-header.bytes);
  if (ops::rehearsing()) count_item(header.item, -header.bytes);
  if (arena().owns(block))
    arena().free(block);
  else if (g_addresses != nullptr && g_addresses->owns(block))
    g_addresses->free(block);
  else
    c10::free_cpu(block);
}

[[noreturn]] void fail(size_t bytes) {
  const auto asked = static_cast<int64_t>(bytes);
  throw OutOfMemory(
      Error("memory",
            "is exhausted: a tensor of " + format_bytes(asked) +
                " does not fit beside the " + format_bytes(g_current) + " in use, of " +
                format_bytes(memory_meter::total_bytes()),
            "Use a smaller train.batch_size, memory.activations = recompute, "
            "memory.gradients = update, or model.dtype = bf16"),
      asked, g_current);
}

// What the process holds beside tensors: measured where few of them are about, and what
// oneDNN and threads will add.
int64_t g_program = 0;
constexpr int64_t kProgramGrowth = 32 * kMiB;

void measure_program() {
  g_program = std::max(g_program, private_bytes() - g_current + kProgramGrowth);
}

// Whether a block fits what the process may have, and the machine has. Asks the system
// only where it matters: near the limit, and for large blocks.
bool fits_now(int64_t bytes) {
  const int64_t limit = machine_bytes();
  const int64_t tensors = g_current.load() + g_program;
  if (bytes > limit - tensors) return false;
  if (tensors + bytes > limit / 2 && private_bytes() > limit - bytes) return false;
  return bytes < kLargeBlock || bytes <= available_bytes();
}

// What the arena keeps may be in the way.
bool fits(size_t bytes) {
  if (bytes > static_cast<size_t>(machine_bytes())) return false;
  const auto asked = static_cast<int64_t>(bytes);
  if (fits_now(asked)) return true;
  arena().trim();
  return fits_now(asked);
}

void* allocate_or_fail(size_t bytes) {
  if (ops::rehearsing() && bytes >= kArenaBlock) {
    if (void* block = addresses().allocate(bytes + kHeader)) return block;
    fail(bytes);
  }
  if (bytes >= kArenaBlock && !fits(bytes)) fail(bytes);
  if (bytes >= kArenaBlock)
    if (void* block = arena().allocate(bytes + kHeader)) return block;
  try {
    return c10::alloc_cpu(bytes + kHeader);
  } catch (const c10::Error&) {
    fail(bytes);
  }
}

class CountingAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    if (bytes == 0) return {nullptr, nullptr, &release, c10::kCPU};
    auto* block = static_cast<std::byte*>(allocate_or_fail(bytes));
    const Header header{static_cast<int64_t>(bytes), ops::current_item()};
    std::memcpy(block, &header, sizeof header);
    count(header.bytes);
    if (ops::rehearsing()) count_item(header.item, header.bytes);
    void* data = block + kHeader;
    // oneDNN takes memory with raw_allocate: context and data must be the same.
    return {data, data, &release, c10::kCPU};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* destination, const void* source, size_t bytes) const override {
    default_copy_data(destination, source, bytes);
  }
};

// On the CPU each allocation raises the peaks itself.
void ask_device() {
  if (g_device.is_cpu()) return;
  const ops::GpuMemory memory = ops::gpu_memory(g_device);
  ops::reset_gpu_peak(g_device);
  raise(g_phase_peak, memory.peak);
  raise(g_interval_peak, memory.peak);
  raise(g_peak, memory.peak);
}

void record_phase() {
  ask_device();
  if (g_phase == Phase::kNone) return;
  int64_t& recorded = g_peaks[static_cast<size_t>(g_phase)];
  recorded = std::max(recorded, g_phase_peak.load());
}

void enter(Phase phase) {
  record_phase();
  g_phase = phase;
  g_phase_peak = memory_meter::current_bytes();
}

}  // namespace

const char* phase_name(Phase phase) {
  switch (phase) {
    case Phase::kLoad:
      return "load";
    case Phase::kForward:
      return "forward";
    case Phase::kBackward:
      return "backward";
    case Phase::kUpdate:
      return "update";
    case Phase::kEvaluate:
      return "evaluate";
    case Phase::kSave:
      return "save";
    case Phase::kNone:
      break;
  }
  return "";
}

namespace memory_meter {

void install() {
  static CountingAllocator allocator;
  static const bool once = [] {
    // LibTorch and oneDNN each keep what is compiled for a shape of a product, by default
    // 1,024 of them, some hundred KiB each: over steps of ever new lengths more than all
    // activations. A step meets about fifty.
    setenv("LRU_CACHE_CAPACITY", "64", /*overwrite=*/0);
    setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "96", /*overwrite=*/0);
    // Otherwise malloc takes a freed large block for a reason to keep more, up to 64 MiB.
    mallopt(M_MMAP_THRESHOLD, 128 * 1024);
    mallopt(M_TRIM_THRESHOLD, 128 * 1024);
    c10::SetCPUAllocator(&allocator, /*priority=*/1);
    measure_program();
    return true;
  }();
  static_cast<void>(once);
}

void measure(c10::Device device) {
  g_device = device;
  if (!device.is_cpu()) ops::reset_gpu_peak(device);
  reset_peaks();
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
  return std::max<int64_t>(0, std::min(available_bytes() + g_current - kProgramGrowth,
                                       machine_bytes() - g_program));
}

int64_t program_bytes() { return g_program; }

int64_t current_bytes() {
  return g_device.is_cpu() ? g_current.load() : ops::gpu_memory(g_device).current;
}

int64_t peak_bytes() {
  ask_device();
  return g_peak;
}

std::array<int64_t, kPhases> peaks_by_phase() {
  record_phase();
  return g_peaks;
}

int64_t take_peak() {
  ask_device();
  return g_interval_peak.exchange(current_bytes());
}

void reset_peaks() {
  const int64_t now = current_bytes();
  g_peaks.fill(0);
  g_phase_peak = g_interval_peak = g_peak = now;
}

void return_free_memory() {
  if (ops::rehearsing()) return addresses().trim();
  arena().trim();
  malloc_trim(0);
  measure_program();
  if (!g_device.is_cpu()) ops::return_free_gpu_memory(g_device);
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

}  // namespace memory_meter

struct Rehearsal::Before {
  std::array<int64_t, kPhases> peaks = g_peaks;
  int64_t interval_peak = g_interval_peak, peak = g_peak;
  c10::Device device = g_device;
};

Rehearsal::Rehearsal(const std::optional<ops::RehearsedGpu>& gpu)
    : before_(std::make_unique<Before>()), without_arithmetic_(gpu) {
  g_device = c10::kCPU;
  memory_meter::reset_peaks();
  start_ = g_current;
  g_items.fill(0);
  g_items_at_peak.fill(0);
  g_peak_of_items = start_;
}

Rehearsal::~Rehearsal() {
  assert(addresses().live_bytes() == 0);
  addresses().trim();
  g_device = before_->device;
  g_peaks = before_->peaks;
  g_interval_peak = before_->interval_peak;
  g_peak = before_->peak;
  g_phase_peak = memory_meter::current_bytes();
}

Rehearsed Rehearsal::peaks() const {
  Rehearsed found{g_peak - start_, memory_meter::peaks_by_phase(), g_items_at_peak};
  for (int64_t& peak : found.by_phase) peak = std::max<int64_t>(0, peak - start_);
  return found;
}

PhaseScope::PhaseScope(Phase phase) : outer_(g_phase) { enter(phase); }
PhaseScope::~PhaseScope() { enter(outer_); }

}  // namespace lowmem::engine
