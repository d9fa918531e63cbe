#include "lowmem/memory/pages.h"

#include <sys/mman.h>

#include <algorithm>
#include <cassert>
#include <mutex>
#include <set>

#include "allocator.h"
#include "block_records.h"
#include "lowmem/memory/rehearsal.h"

namespace lowmem::memory {

std::atomic<BlockRecord*> BlockRecords::now_{nullptr};

struct BlockRecord::Made {
  std::mutex mutex;
  std::set<void*> blocks;
};

void BlockRecords::made(void* data) {
  BlockRecord* record = now_.load(std::memory_order_acquire);
  if (record == nullptr) return;
  const std::lock_guard lock(record->made_->mutex);
  record->made_->blocks.insert(data);
}

void BlockRecords::gone(void* data) {
  BlockRecord* record = now_.load(std::memory_order_acquire);
  if (record == nullptr) return;
  const std::lock_guard lock(record->made_->mutex);
  record->made_->blocks.erase(data);
}

BlockRecord::BlockRecord() : made_(std::make_unique<Made>()) {
  [[maybe_unused]] BlockRecord* before =
      BlockRecords::now_.exchange(this, std::memory_order_acq_rel);
  assert(before == nullptr);
}

BlockRecord::~BlockRecord() {
  BlockRecords::now_.store(nullptr, std::memory_order_release);
}

std::vector<void*> BlockRecord::blocks() const {
  const std::lock_guard lock(made_->mutex);
  return {made_->blocks.begin(), made_->blocks.end()};
}

Pages::Pages(const void* data) {
  const AllocatedBlock block = allocated_block(data);
  span_ = block.pages;
  bytes_ = std::min(block.bytes, static_cast<int64_t>(span_.size()));
  ledger_ = block.ledger;
  item_ = block.item;
}

void Pages::leave() {
  if (span_.empty()) return;
  if (!rehearsing()) ::madvise(span_.data(), span_.size(), MADV_DONTNEED);
  ledger_->add(-bytes_, item_);
}

void Pages::come() {
  if (!span_.empty()) ledger_->add(bytes_, item_);
}

}  // namespace lowmem::memory
