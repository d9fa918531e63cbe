#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace lowmem::tokenization {

// The pattern of a tokenizer.json, written for Oniguruma with Ruby's syntax, in PCRE2's.
// The classes \s \d \p{L} \p{N} ... are spelt out, so that a text is split alike whatever
// Unicode version PCRE2 was built with. Throws Error naming `where` when the pattern uses
// something that the two engines read differently, or that is not known here; also beyond
// 4096 bytes, several times what any tokenizer has.
std::string to_pcre2(std::string_view pattern, const std::string& where);

// Characters that Rust's regex calls \w, as a PCRE2 class without its brackets.
std::string word_characters();

// A compiled pattern. Thread-safe.
class Pattern {
 public:
  // `pcre2` in PCRE2's syntax; `where` names it in errors.
  Pattern(const std::string& pcre2, std::string where);
  ~Pattern();
  Pattern(const Pattern&) = delete;
  Pattern& operator=(const Pattern&) = delete;

  struct Match {
    size_t start;
    size_t end;
  };
  // Every match in `text`, left to right, not overlapping; empty ones only where no match
  // ended before. `text` must be well-formed UTF-8. Throws Error when the search takes
  // many more steps than the text has characters, or much more of the processor's time
  // than any text of its length: not all work is a step to PCRE2.
  std::vector<Match> find_all(std::string_view text) const;

 private:
  struct Compiled;
  [[noreturn]] void fail_on(std::string_view text) const;
  std::unique_ptr<Compiled> compiled_;
  std::string where_;
};

}  // namespace lowmem::tokenization
