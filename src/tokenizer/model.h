#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "tokenizer/bpe.h"
#include "tokenizer/json_field.h"
#include "tokenizer/piece_table.h"

namespace lowmem::tokenization {

// A vocabulary and the rule that cuts a word into its pieces.
class Model {
 public:
  virtual ~Model() = default;
  // Appends the ids of `word`, which is not empty and shorter than 2 GiB.
  virtual void encode(std::string_view word, BpeScratch& scratch,
                      std::vector<int32_t>& ids) const = 0;
  const PieceTable& pieces() const { return pieces_; }

 protected:
  PieceTable pieces_;
};

// A `model` of tokenizer.json whose type is BPE. With `byte_level`, words and pieces are
// bytes, else text.
std::unique_ptr<Model> bpe_model(const JsonField& field, bool byte_level);

// A `model` of tokenizer.json whose type is WordLevel: words are looked up whole.
std::unique_ptr<Model> word_level_model(const JsonField& field);

// Pieces that merge by their own rank, as in tiktoken's files: id and rank are one. A
// word that is a piece is not cut. Every single byte must be a piece.
std::unique_ptr<Model> rank_model(PieceTable pieces);

}  // namespace lowmem::tokenization
