#include "lowmem/memory/arena.h"

#include <sys/mman.h>

#include <cassert>
#include <cstdint>
#include <iterator>

namespace lowmem::memory {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kLargePage = 2 * 1024 * 1024;

constexpr size_t whole_pages(size_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

}  // namespace

Arena::Arena(size_t bytes, Backing backing) {
  const size_t size = whole_pages(bytes);
  if (size == 0) return;
  void* mapped = mmap(nullptr, size + kLargePage, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) return;
  mapped_ = static_cast<std::byte*>(mapped);
  mapped_bytes_ = size + kLargePage;
  const size_t beyond = reinterpret_cast<uintptr_t>(mapped_) % kLargePage;
  base_ = mapped_ + (kLargePage - beyond) % kLargePage;
  capacity_ = size;
  // Where it is refused, pages are small.
  if (backing == Backing::kMemory) madvise(base_, capacity_, MADV_HUGEPAGE);
  insert_free(0, size);
}

Arena::~Arena() {
  if (mapped_ != nullptr) munmap(mapped_, mapped_bytes_);
}

void* Arena::allocate(size_t bytes) {
  const size_t size = whole_pages(bytes == 0 ? 1 : bytes);
  const std::scoped_lock lock(mutex_);
  const auto found = free_by_size_.lower_bound({size, 0});
  if (found == free_by_size_.end()) return nullptr;
  const auto [range_size, offset] = *found;
  erase_free(free_by_offset_.find(offset));
  if (range_size > size) insert_free(offset + size, range_size - size);
  live_[offset] = size;
  live_bytes_ += size;
  return base_ + offset;
}

void Arena::free(void* block) {
  const std::scoped_lock lock(mutex_);
  const auto live =
      live_.find(static_cast<size_t>(static_cast<std::byte*>(block) - base_));
  assert(live != live_.end());
  size_t offset = live->first, size = live->second;
  live_bytes_ -= size;
  live_.erase(live);
  const auto after = free_by_offset_.lower_bound(offset);
  if (after != free_by_offset_.begin()) {
    const auto before = std::prev(after);
    if (before->first + before->second == offset) {
      offset = before->first;
      size += before->second;
      erase_free(before);
    }
  }
  if (after != free_by_offset_.end() && offset + size == after->first) {
    size += after->second;
    erase_free(after);
  }
  insert_free(offset, size);
}

bool Arena::owns(const void* address) const {
  const auto* byte = static_cast<const std::byte*>(address);
  return byte >= base_ && byte < base_ + capacity_;
}

void Arena::trim() {
  const std::scoped_lock lock(mutex_);
  for (const auto& [offset, size] : free_by_offset_)
    madvise(base_ + offset, size, MADV_DONTNEED);
}

size_t Arena::live_bytes() const {
  const std::scoped_lock lock(mutex_);
  return live_bytes_;
}

void Arena::insert_free(size_t offset, size_t size) {
  free_by_offset_[offset] = size;
  free_by_size_.insert({size, offset});
}

void Arena::erase_free(std::map<size_t, size_t>::iterator range) {
  free_by_size_.erase({range->second, range->first});
  free_by_offset_.erase(range);
}

}  // namespace lowmem::memory
