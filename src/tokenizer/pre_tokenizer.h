#pragma once

#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/json_field.h"
#include "tokenizer/pattern.h"

namespace lowmem::tokenization {

// A text cut into the words that the model encodes one by one.
struct Words {
  std::vector<std::string_view> views;
  std::deque<std::string>
      owned;                 // what the views point to, where a step changed the text
  bool starts_text = false;  // the first view is the beginning of the whole input
};

// One step: cuts words further, or changes them. Never leaves an empty word.
class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  virtual void apply(Words& words) const = 0;
};

// The `pre_tokenizer` of tokenizer.json: Split, ByteLevel, Digits, Metaspace, Whitespace,
// WhitespaceSplit and sequences.
class PreTokenizers {
 public:
  PreTokenizers() = default;  // leaves texts whole
  explicit PreTokenizers(const JsonField& field);

  // Whether the model's pieces are bytes, because a ByteLevel step comes last.
  bool byte_level() const { return byte_level_; }
  void apply(Words& words) const;

 private:
  void read(const JsonField& field, int depth);

  std::vector<std::unique_ptr<PreTokenizer>> steps_;
  bool byte_level_ = false;
};

// What to do with the matches of a pattern: each becomes a word, or goes away. The text
// between two matches is a word in either case. `inverted`: matches and what lies between
// them change places.
enum class MatchBehavior { kIsolated, kRemoved };

std::unique_ptr<PreTokenizer> make_split(const std::string& pcre2,
                                         const std::string& where, MatchBehavior behavior,
                                         bool inverted);

}  // namespace lowmem::tokenization
