#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lowmem::tokenization {

constexpr int32_t kNoId = -1;

// Ids at or above this are refused: no vocabulary is so large, and tables are indexed by
// id.
constexpr int64_t kIdLimit = int64_t{1} << 22;

// The pieces of a vocabulary by id and by their bytes. Ids may have gaps. Takes about
// 16 bytes a piece beyond the bytes themselves.
class PieceTable {
 public:
  // `id` must be in [0, kIdLimit). False, and nothing added, when the id is taken, or
  // when a piece with the same bytes is already searchable.
  bool add(int32_t id, std::string_view bytes);
  // A piece that text cannot contain: by_id() knows it, find() does not.
  bool add_hidden(int32_t id, std::string_view bytes);

  // kNoId where no searchable piece has these bytes.
  int32_t find(std::string_view bytes) const;
  bool contains(int64_t id) const;
  // Empty where contains(id) is false.
  std::string_view by_id(int64_t id) const;

  // One more than the largest id.
  int32_t id_end() const { return static_cast<int32_t>(spans_.size()); }
  size_t longest() const { return longest_; }

 private:
  static constexpr uint32_t kAbsent = UINT32_MAX;
  struct Span {
    uint32_t start = kAbsent;
    uint32_t size = 0;
  };

  void grow();

  std::string bytes_;
  std::vector<Span> spans_;     // by id
  std::vector<int32_t> slots_;  // open addressing; kNoId is free; a power of two
  size_t searchable_ = 0;
  size_t longest_ = 0;
};

}  // namespace lowmem::tokenization
