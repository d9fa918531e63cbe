#include "tokenizer/piece_table.h"

#include <algorithm>
#include <functional>

namespace lowmem::tokenization {
namespace {

size_t hash_of(std::string_view bytes) { return std::hash<std::string_view>()(bytes); }

}  // namespace

bool PieceTable::add(int32_t id, std::string_view bytes) {
  if (find(bytes) != kNoId || !add_hidden(id, bytes)) return false;
  if (++searchable_ * 2 > slots_.size()) {
    grow();
  }
  const size_t mask = slots_.size() - 1;
  size_t slot = hash_of(bytes) & mask;
  while (slots_[slot] != kNoId) slot = (slot + 1) & mask;
  slots_[slot] = id;
  longest_ = std::max(longest_, bytes.size());
  return true;
}

bool PieceTable::add_hidden(int32_t id, std::string_view bytes) {
  if (contains(id)) return false;
  if (id >= id_end()) spans_.resize(static_cast<size_t>(id) + 1);
  spans_[static_cast<size_t>(id)] = {static_cast<uint32_t>(bytes_.size()),
                                     static_cast<uint32_t>(bytes.size())};
  bytes_ += bytes;
  return true;
}

// Doubles the slots and places every searchable piece again.
void PieceTable::grow() {
  std::vector<int32_t> old(std::max<size_t>(64, slots_.size() * 2), kNoId);
  old.swap(slots_);
  const size_t mask = slots_.size() - 1;
  for (const int32_t id : old) {
    if (id == kNoId) continue;
    size_t slot = hash_of(by_id(id)) & mask;
    while (slots_[slot] != kNoId) slot = (slot + 1) & mask;
    slots_[slot] = id;
  }
}

int32_t PieceTable::find(std::string_view bytes) const {
  if (slots_.empty()) return kNoId;
  const size_t mask = slots_.size() - 1;
  size_t slot = hash_of(bytes) & mask;
  while (slots_[slot] != kNoId && by_id(slots_[slot]) != bytes) slot = (slot + 1) & mask;
  return slots_[slot];
}

bool PieceTable::contains(int64_t id) const {
  return id >= 0 && id < id_end() && spans_[static_cast<size_t>(id)].start != kAbsent;
}

std::string_view PieceTable::by_id(int64_t id) const {
  if (!contains(id)) return {};
  const Span span = spans_[static_cast<size_t>(id)];
  return std::string_view(bytes_).substr(span.start, span.size);
}

}  // namespace lowmem::tokenization
