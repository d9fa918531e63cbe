#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "lowmem/tokenizer/tokenizer.h"
#include "tokenizer/json_field.h"
#include "tokenizer/piece_table.h"

namespace lowmem::tokenization {

// A token that is found in the text before the model sees it.
struct AddedToken {
  int32_t id = kNoId;
  std::string content;
  bool single_word = false;  // only where no word character is next to it
  bool strip_left = false;   // takes the white space before it along
  bool strip_right = false;
  bool normalized = false;  // looked for in the normalized text, itself normalized
  bool special = false;     // left out by decode()
};

// The token of an `added_tokens` entry of tokenizer.json, or of a value of
// `added_tokens_decoder`; the id is the caller's to set.
AddedToken read_added_token(const JsonField& field);

// Finds a set of tokens in texts: the leftmost first, the longest of those that start at
// the same place. One step a byte, plus the length of partial matches.
class AddedTokenFinder {
 public:
  // `pattern` is what to look for; an empty one is never found. The first of equals
  // counts; it is special where one of them is.
  void add(const std::string& pattern, const AddedToken& token);

  // A part of a text: an added token, or what lies between two (id == kNoId), never
  // empty.
  struct Part {
    std::string_view text;
    int32_t id = kNoId;
  };
  // The parts of `text`, left to right. `text` must be well-formed UTF-8. Special tokens
  // are ordinary text with `special` = false.
  std::vector<Part> split(std::string_view text, bool special = true) const;
  // Tokenizer::parts() with these tokens.
  std::vector<Tokenizer::Part> parts(std::string_view text,
                                     std::span<const Tokenizer::Range> plain) const;

 private:
  struct Flags {
    int32_t id;
    bool single_word, strip_left, strip_right, special;
  };
  // Calls use(begin, end, id) with the parts. `is_text(begin, end)` turns down a special
  // token.
  template <class IsText, class Use>
  void walk(std::string_view text, const IsText& is_text, const Use& use) const;
  // The token that starts at `at` and is longest; its size in bytes, or 0.
  size_t longest_at(std::string_view text, size_t at, int32_t* token) const;

  std::vector<Flags> tokens_;
  // A trie: (node, byte) -> node; nodes_[node] is an index of tokens_, or -1.
  std::unordered_map<uint64_t, uint32_t> edges_;
  std::vector<int32_t> nodes_ = {-1};
  bool starts_[256] = {};
};

}  // namespace lowmem::tokenization
