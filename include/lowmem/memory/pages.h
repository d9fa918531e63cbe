#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "lowmem/memory/ledger.h"

namespace lowmem::memory {

// Blocks smaller than this are not told of here: malloc has them.
inline constexpr size_t kSmallestBlock = 64 * 1024;  // bytes

// The memory of the CPU's tensors that is made during its life and is there still, but
// for small blocks. One at a time; tensors may come and go on any thread that is waited
// for.
class BlockRecord {
 public:
  BlockRecord();
  ~BlockRecord();
  BlockRecord(const BlockRecord&) = delete;
  BlockRecord& operator=(const BlockRecord&) = delete;

  // What tensors' storages point to.
  std::vector<void*> blocks() const;

 private:
  friend class BlockRecords;
  struct Made;
  std::unique_ptr<Made> made_;
};

// The memory of a tensor, for a time in which nobody looks at its numbers and they are
// somewhere else: its addresses stay, and the tensor with all that points to it, but
// nothing is behind them and the ledger counts it as gone. Of a block its whole pages,
// but for the first.
class Pages {
 public:
  // `data`: what a storage of the CPU points to. Of a small block, or of memory that is
  // not the allocator's, no pages.
  explicit Pages(const void* data);

  // At a multiple of the page size; the tensor must live.
  std::span<std::byte> span() const { return span_; }
  // Their numbers are lost with this; they are zeros when they are looked at again.
  void leave();
  void come();

 private:
  std::span<std::byte> span_;
  int64_t bytes_ = 0;  // that the ledger has of them
  Ledger* ledger_ = nullptr;
  Item item_ = Item::kBlock;
};

}  // namespace lowmem::memory
