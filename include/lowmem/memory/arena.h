#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <set>
#include <utility>

namespace lowmem::memory {

// Large blocks of memory that stay with the process when freed, so that the next block
// need not be brought in page by page: for tensors that live for a moment and are written
// once, page faults cost more than the arithmetic.
//
// A range of addresses is reserved at once and backed by memory as it is first written.
// A block is cut from the smallest free range that holds it, the lowest of equal ones;
// freed ranges join their neighbours. So the memory in use grows to the highest sum of
// live blocks plus what lies between them, and no further. Thread-safe.
//
// Pages of 2 MiB, where the system has them: a disk reads into the same memory in a fifth
// of the kernel's work, and products look up fewer addresses.
class Arena {
 public:
  enum class Backing {
    kMemory,     // blocks are written
    kAddresses,  // next to nothing is
  };
  // Reserves `bytes` of addresses, no memory. Holds nothing where the system refuses.
  explicit Arena(size_t bytes, Backing backing = Backing::kMemory);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // At least `bytes` at a multiple of the page size, uninitialised, or null where nothing
  // fits. O(log n) in the number of free ranges.
  void* allocate(size_t bytes);
  // `block` as allocate() gave it; any other address is a bug.
  void free(void* block);
  bool owns(const void* address) const;

  // Gives the memory of all free ranges back to the system.
  void trim();
  // Bytes in live blocks, whole pages.
  size_t live_bytes() const;

 private:
  using Range = std::pair<size_t, size_t>;  // size, offset

  void insert_free(size_t offset, size_t size);
  void erase_free(std::map<size_t, size_t>::iterator range);

  std::byte* base_ = nullptr;  // of the range, at a multiple of a large page
  size_t capacity_ = 0;
  std::byte* mapped_ = nullptr;  // what the system gave, some more
  size_t mapped_bytes_ = 0;
  mutable std::mutex mutex_;
  std::map<size_t, size_t> free_by_offset_;  // offset -> size
  std::set<Range> free_by_size_;
  std::map<size_t, size_t> live_;  // offset -> size
  size_t live_bytes_ = 0;
};

}  // namespace lowmem::memory
