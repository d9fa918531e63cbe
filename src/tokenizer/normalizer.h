#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/json_field.h"

namespace lowmem::tokenization {

// The `normalizer` of tokenizer.json: Prepend, Replace of a plain string, NFC, and
// sequences.
class Normalizer {
 public:
  Normalizer() = default;  // leaves texts as they are
  explicit Normalizer(const JsonField& field);

  bool changes_text() const { return !steps_.empty(); }
  // Throws Error where a text would become more than 16 times as long, and 1 MiB: steps
  // that double it could fill any memory.
  // Without `prepends`, what is before a text is left out.
  std::string operator()(std::string_view text, bool prepends = true) const;

 private:
  struct Step {
    enum class Kind { kPrepend, kReplace, kNfc };
    Kind kind;
    std::string pattern = {};
    std::string content =
        {};  // that a text which is not empty begins with, or a pattern's
  };
  std::string applied(const Step& step, const std::string& text, size_t longest) const;
  void read(const JsonField& field, int depth);

  std::string where_;
  std::vector<Step> steps_;
};

// `text` with every `pattern`, which is not empty, replaced by `content`, left to right.
std::string replace_all(std::string_view text, std::string_view pattern,
                        std::string_view content);

// The plain string of a Replace step's `pattern`; an Error where it is a regular
// expression.
std::string read_plain_pattern(const JsonField& step);

// Sequences inside sequences deeper than this are refused, and longer ones: every text
// goes through each step.
inline constexpr int kDeepestSequence = 8;
inline constexpr size_t kMostSteps = 64;

}  // namespace lowmem::tokenization
