#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/json_field.h"

namespace lowmem::tokenization {

// The `normalizer` of tokenizer.json: Prepend, Replace of a plain string, and sequences.
class Normalizer {
 public:
  Normalizer() = default;  // leaves texts as they are
  explicit Normalizer(const JsonField& field);

  bool changes_text() const { return !steps_.empty(); }
  std::string operator()(std::string_view text) const;

 private:
  struct Step {
    std::string pattern;  // empty: prepend `content` to a text that is not empty
    std::string content;
  };
  void read(const JsonField& field, int depth);

  std::vector<Step> steps_;
};

// `text` with every `pattern`, which is not empty, replaced by `content`, left to right.
std::string replace_all(std::string_view text, std::string_view pattern,
                        std::string_view content);

// The plain string of a Replace step's `pattern`; an Error where it is a regular
// expression.
std::string read_plain_pattern(const JsonField& step);

// Sequences inside sequences deeper than this are refused.
inline constexpr int kDeepestSequence = 8;

}  // namespace lowmem::tokenization
