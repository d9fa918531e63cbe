#include <utility>

#include "tokenizer/model.h"

namespace lowmem::tokenization {
namespace {

class RankModel : public Model {
 public:
  explicit RankModel(PieceTable pieces) {
    pieces_ = std::move(pieces);
    for (int b = 0; b < 256; ++b) {
      const char byte = static_cast<char>(b);
      byte_ids_[b] = pieces_.find(std::string_view(&byte, 1));
    }
  }

  void encode(std::string_view word, BpeScratch& scratch,
              std::vector<int32_t>& ids) const override {
    const int32_t whole = pieces_.find(word);
    if (whole != kNoId) {
      ids.push_back(whole);
      return;
    }
    scratch.symbols.clear();
    for (uint32_t i = 0; i < word.size(); ++i)
      scratch.symbols.push_back(
          {.id = byte_ids_[static_cast<unsigned char>(word[i])], .start = i, .size = 1});
    merge_symbols(scratch, [&](const Symbol& left, const Symbol& right) -> Merge {
      const size_t size = size_t{left.size} + right.size;
      if (size > pieces_.longest()) return {};
      const int32_t id = pieces_.find(word.substr(left.start, size));
      return id == kNoId ? Merge{} : Merge{id, id};
    });
    append_ids(scratch, ids);
  }

 private:
  int32_t byte_ids_[256];
};

}  // namespace

std::unique_ptr<Model> rank_model(PieceTable pieces) {
  return std::make_unique<RankModel>(std::move(pieces));
}

}  // namespace lowmem::tokenization
