#include "tokenizer/bpe.h"

#include <bit>

namespace lowmem::tokenization {
namespace {

uint64_t pair_of(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 |
         static_cast<uint32_t>(right);
}

}  // namespace

MergeTable::MergeTable(size_t count) : slots_(std::bit_ceil(2 * count + 1)) {}

// Where the pair is, or would be put.
size_t MergeTable::slot_of(uint64_t pair) const {
  const size_t mask = slots_.size() - 1;
  uint64_t hash = pair * 0x9E3779B97F4A7C15u;  // Fibonacci hashing: 2^64 / golden ratio
  hash ^= hash >> 32;
  size_t slot = hash & mask;
  while (slots_[slot].pair != kFree && slots_[slot].pair != pair)
    slot = (slot + 1) & mask;
  return slot;
}

void MergeTable::add(int32_t left, int32_t right, Merge merge) {
  const uint64_t pair = pair_of(left, right);
  slots_[slot_of(pair)] = {pair, merge};
}

Merge MergeTable::find(int32_t left, int32_t right) const {
  return slots_[slot_of(pair_of(left, right))].merge;
}

void append_ids(const BpeScratch& scratch, std::vector<int32_t>& ids) {
  if (scratch.symbols.empty()) return;
  for (int32_t at = 0; at >= 0;) {
    const Symbol& symbol = scratch.symbols[static_cast<size_t>(at)];
    ids.push_back(symbol.id);
    at = symbol.next;
  }
}

}  // namespace lowmem::tokenization
