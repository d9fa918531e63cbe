#include "allocator.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "addresses.h"
#include "block_records.h"
#include "cpu_ledger.h"
#include "lowmem/core/units.h"
#include "lowmem/memory/limits.h"
#include "lowmem/memory/meter.h"
#include "lowmem/memory/rehearsal.h"

namespace lowmem::memory {
namespace {

// Before each block, in as many bytes as its alignment needs.
struct Header {
  int64_t bytes;
  Item item;
  Ledger* ledger;
};
constexpr size_t kHeader = 64;
static_assert(sizeof(Header) <= kHeader);

// Blocks from this size on come from the arena; smaller ones malloc reuses well enough.
constexpr size_t kArenaBlock = kSmallestBlock;

// From here on a block is worth asking the system about.
constexpr int64_t kLargeBlock = 16 * kMiB;

Arena& arena() {
  // Twice the addresses: some are lost between blocks.
  static auto* instance = new Arena(2 * static_cast<size_t>(machine_bytes()));
  return *instance;  // never destroyed: tensors may outlive every other static object
}

// Null before the first rehearsal.
Arena* g_addresses = nullptr;

void release(void* data) {
  if (data == nullptr) return;
  auto* block = static_cast<std::byte*>(data) - kHeader;
  Header header;
  std::memcpy(&header, block, sizeof header);
  header.ledger->add(-header.bytes, header.item);
  if (header.bytes >= static_cast<int64_t>(kArenaBlock)) BlockRecords::gone(data);
  if (arena().owns(block))
    arena().free(block);
  else if (g_addresses != nullptr && g_addresses->owns(block))
    g_addresses->free(block);
  else
    std::free(block);
}

[[noreturn]] void fail(size_t bytes) {
  const auto asked = static_cast<int64_t>(bytes);
  const int64_t used = host_ledger().current();
  throw OutOfMemory(Error("memory",
                          "is exhausted: a tensor of " + format_bytes(asked) +
                              " does not fit beside the " + format_bytes(used) +
                              " in use, of " + format_bytes(total_bytes()),
                          "Compute on fewer rows at a time, or with a smaller model"),
                    asked, used);
}

int64_t g_program = 0;

// Whether a block fits what the process may have, and the machine has. Asks the system
// only where it matters: near the limit, and for large blocks.
bool fits_now(int64_t bytes) {
  const int64_t limit = machine_bytes();
  const int64_t tensors = host_ledger().current() + g_program;
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
  if (rehearsing() && bytes >= kArenaBlock) {
    if (void* block = addresses().allocate(bytes + kHeader)) return block;
    fail(bytes);
  }
  if (bytes >= kArenaBlock && !fits(bytes)) fail(bytes);
  if (bytes >= kArenaBlock)
    if (void* block = arena().allocate(bytes + kHeader)) return block;
  // Not LibTorch's own, which may end the process where there is nothing left.
  void* block = nullptr;
  if (posix_memalign(&block, kHeader, bytes + kHeader) != 0) fail(bytes);
  // Without an arena the process may have few addresses.
  if (bytes >= kArenaBlock && !has_reserve()) {
    std::free(block);
    fail(bytes);
  }
  return block;
}

class CountingAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    if (bytes == 0) return {nullptr, nullptr, &release, c10::kCPU};
    auto* block = static_cast<std::byte*>(allocate_or_fail(bytes));
    Ledger& ledger = ledger_of_cpu_tensors();
    // What stands in for a GPU's tensor counts as LibTorch's allocator there has it.
    constexpr int64_t kOnGpu = 512;
    const int64_t unit = &ledger == &gpu_ledger() ? kOnGpu : 1;
    const int64_t counted = (static_cast<int64_t>(bytes) + unit - 1) / unit * unit;
    const Header header{counted, current_item(), &ledger};
    std::memcpy(block, &header, sizeof header);
    header.ledger->add(header.bytes, header.item);
    void* data = block + kHeader;
    if (bytes >= kArenaBlock) BlockRecords::made(data);
    // oneDNN takes memory with raw_allocate: context and data must be the same.
    return {data, data, &release, c10::kCPU};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* destination, const void* source, size_t bytes) const override {
    default_copy_data(destination, source, bytes);
  }
};

}  // namespace

Arena& addresses() {
  if (g_addresses == nullptr)
    g_addresses =
        new Arena(static_cast<size_t>(16 * 1024 * kGiB), Arena::Backing::kAddresses);
  return *g_addresses;  // never destroyed, as arena()
}

void install_allocator() {
  static CountingAllocator allocator;
  c10::SetCPUAllocator(&allocator, /*priority=*/1);
}

void trim_blocks() { arena().trim(); }

AllocatedBlock allocated_block(const void* data) {
  if (data == nullptr) return {};
  auto* block = static_cast<std::byte*>(const_cast<void*>(data)) - kHeader;
  if (!arena().owns(block) && (g_addresses == nullptr || !g_addresses->owns(block)))
    return {};
  Header header;
  std::memcpy(&header, block, sizeof header);
  // The arena cuts its blocks by pages of this size.
  constexpr size_t page = 4096;
  if (sysconf(_SC_PAGESIZE) != static_cast<long>(page)) return {};
  const size_t all =
      (kHeader + static_cast<size_t>(header.bytes) + page - 1) / page * page;
  return {{block + page, all - page}, header.bytes, header.ledger, header.item};
}

void measure_program() {
  g_program =
      std::max(g_program, private_bytes() - host_ledger().current() + kProgramGrowth);
}
int64_t measured_program() { return g_program; }

}  // namespace lowmem::memory
