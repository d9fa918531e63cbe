#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "lowmem/template/value.h"
#include "lowmem/tokenizer/tokenizer.h"

namespace lowmem {

// The tokens of a rendered text. Special tokens that the template wrote are ids, those in
// what it was given are text.
class RenderedTokens {
 public:
  RenderedTokens(const jinja::Text& text, const Tokenizer& tokenizer);

  const std::vector<int32_t>& ids() const { return ids_; }

  // The tokens that hold bytes of [begin, end), as [first, last + 1). Costs a look at the
  // pieces of the text that the two lie in.
  std::pair<size_t, size_t> tokens_of(size_t begin, size_t end) const;

  // Where the last token that was looked for in the text before `end` ends, at or behind
  // `begin`; 0: there is none.
  size_t last_written_token(size_t begin, size_t end) const;

  struct Part : Tokenizer::Part {
    size_t first = 0, count = 0;  // of its tokens
  };
  const std::vector<Part>& parts() const { return parts_; }

 private:
  size_t token_at(size_t byte) const;

  const std::string& text_;
  const Tokenizer& tokenizer_;
  std::vector<Part> parts_;
  std::vector<int32_t> ids_;
};

}  // namespace lowmem
