#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

#include "tokenizer/piece_table.h"

namespace lowmem::tokenization {

// What two neighbouring pieces become. A lower rank merges first.
struct Merge {
  int32_t rank = std::numeric_limits<int32_t>::max();  // this value: they do not merge
  int32_t id = kNoId;

  bool exists() const { return id != kNoId; }
};

// The merges of a vocabulary, by the ids of the pair. 16 bytes a slot, at most half full.
class MergeTable {
 public:
  // `count` merges will be added.
  explicit MergeTable(size_t count = 0);
  // A pair added before gets the later merge.
  void add(int32_t left, int32_t right, Merge merge);
  Merge find(int32_t left, int32_t right) const;

 private:
  static constexpr uint64_t kFree = UINT64_MAX;
  struct Slot {
    uint64_t pair = kFree;
    Merge merge;
  };

  size_t slot_of(uint64_t pair) const;

  std::vector<Slot> slots_;
};

// One piece of a word that is being merged: a node of a linked list inside a vector.
struct Symbol {
  int32_t id = kNoId;
  uint32_t start = 0;  // of its bytes in the word
  uint32_t size = 0;
  int32_t previous = -1;
  int32_t next = -1;
  Merge merge = {};  // with the next symbol
};

// Buffers that encode() calls use again from word to word.
struct BpeScratch {
  std::vector<Symbol> symbols;
  std::vector<uint64_t> queue;
};

// Byte-pair encoding: merges the pair of lowest rank, the leftmost of equals, until none
// is left. `scratch.symbols` holds the word as single characters or bytes, with `id`,
// `start` and `size` set; those that remain are the list from symbols[0] along `next`.
// `merge_of(left, right)` names the merge of two symbols. O(n log n).
// Sennrich et al. 2016, "Neural Machine Translation of Rare Words with Subword Units".
template <class MergeOf>
void merge_symbols(BpeScratch& scratch, const MergeOf& merge_of) {
  std::vector<Symbol>& symbols = scratch.symbols;
  std::vector<uint64_t>& queue = scratch.queue;
  queue.clear();
  // An entry is rank and position in one number, so that the smallest is the next to
  // merge.
  const auto entry = [&](int32_t at) {
    const int32_t rank = symbols[static_cast<size_t>(at)].merge.rank;
    return static_cast<uint64_t>(rank) << 32 | static_cast<uint32_t>(at);
  };
  const auto look_up = [&](int32_t at) {
    Symbol& symbol = symbols[static_cast<size_t>(at)];
    symbol.merge = symbol.next < 0
                       ? Merge{}
                       : merge_of(symbol, symbols[static_cast<size_t>(symbol.next)]);
    return symbol.merge.exists();
  };
  const auto count = static_cast<int32_t>(symbols.size());
  for (int32_t i = 0; i < count; ++i) {
    symbols[static_cast<size_t>(i)].previous = i - 1;
    symbols[static_cast<size_t>(i)].next = i + 1 < count ? i + 1 : -1;
  }
  for (int32_t i = 0; i < count; ++i)
    if (look_up(i)) queue.push_back(entry(i));
  std::make_heap(queue.begin(), queue.end(), std::greater<>());

  while (!queue.empty()) {
    std::pop_heap(queue.begin(), queue.end(), std::greater<>());
    const uint64_t top = queue.back();
    queue.pop_back();
    const auto at = static_cast<int32_t>(top & UINT32_MAX);
    Symbol& left = symbols[static_cast<size_t>(at)];
    if (!left.merge.exists() || entry(at) != top) continue;  // the pair changed meanwhile
    Symbol& right = symbols[static_cast<size_t>(left.next)];
    left.id = left.merge.id;
    left.size += right.size;
    left.next = right.next;
    right.merge = Merge{};
    if (left.next >= 0) symbols[static_cast<size_t>(left.next)].previous = at;
    for (const int32_t changed : {left.previous, at}) {
      if (changed >= 0 && look_up(changed)) {
        queue.push_back(entry(changed));
        std::push_heap(queue.begin(), queue.end(), std::greater<>());
      }
    }
  }
}

// The ids of the list that merge_symbols() left, after those already in `ids`.
void append_ids(const BpeScratch& scratch, std::vector<int32_t>& ids);

}  // namespace lowmem::tokenization
