#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "tokenizer/json_field.h"
#include "tokenizer/piece_table.h"

namespace lowmem::tokenization {

// The `vocab` object of tokenizer.json, piece -> id, while it is being read. Refers to
// the document.
class Vocabulary {
 public:
  // Throws Error when an id is no integer in [0, kIdLimit), or belongs to two pieces.
  explicit Vocabulary(const JsonField& field);

  int32_t find(const std::string& piece) const;  // kNoId where it is missing
  size_t size() const { return by_id_.size(); }
  const std::vector<std::pair<const std::string*, int32_t>>& in_id_order() const {
    return by_id_;
  }

 private:
  PieceTable pieces_;
  std::vector<std::pair<const std::string*, int32_t>> by_id_;
};

// `id` as an index of a PieceTable; an Error naming `where` when it cannot be one.
int32_t checked_id(int64_t id, const std::string& where);

}  // namespace lowmem::tokenization
