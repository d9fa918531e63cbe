#include <string>

#include "lowmem/core/error.h"
#include "tokenizer/model.h"
#include "tokenizer/vocabulary.h"

namespace lowmem::tokenization {
namespace {

class WordLevelModel : public Model {
 public:
  explicit WordLevelModel(const JsonField& field)
      : where_(field.where()), unknown_piece_(field.at("unk_token").string()) {
    const Vocabulary vocabulary(field.at("vocab"));
    for (const auto& [piece, id] : vocabulary.in_id_order()) pieces_.add(id, *piece);
    unknown_ = vocabulary.find(unknown_piece_);
  }

  void encode(std::string_view word, BpeScratch&,
              std::vector<int32_t>& ids) const override {
    const int32_t id = pieces_.find(word);
    if (id == kNoId && unknown_ == kNoId)
      throw Error(where_ + ".vocab",
                  "has neither the word \"" + std::string(word) +
                      "\" nor the unknown token \"" + unknown_piece_ + "\"",
                  "Add one of them to the vocabulary");
    ids.push_back(id == kNoId ? unknown_ : id);
  }

 private:
  std::string where_;
  std::string unknown_piece_;
  int32_t unknown_ = kNoId;
};

}  // namespace

std::unique_ptr<Model> word_level_model(const JsonField& field) {
  return std::make_unique<WordLevelModel>(field);
}

}  // namespace lowmem::tokenization
