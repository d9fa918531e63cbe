#include "tokenizer/added_tokens.h"

#include <algorithm>
#include <optional>

#include "lowmem/core/utf8.h"
#include "tokenizer/pattern.h"

namespace lowmem::tokenization {
namespace {

uint64_t edge_of(uint32_t node, char byte) {
  return uint64_t{node} << 8 | static_cast<unsigned char>(byte);
}

bool is_word_character(std::string_view character) {
  static const Pattern pattern("[" + word_characters() + "]", "added tokens");
  return !pattern.find_all(character).empty();
}

bool word_ends_at(std::string_view text, size_t end) {
  if (end == 0) return false;
  const size_t size = utf8_before(text, end).size;
  return is_word_character(text.substr(end - size, size));
}

bool word_starts_at(std::string_view text, size_t at) {
  return at < text.size() && is_word_character(text.substr(at, utf8_at(text, at).size));
}

}  // namespace

AddedToken read_added_token(const JsonField& field) {
  AddedToken token;
  token.content = field.at("content").string();
  token.special = field.boolean("special", false);
  token.single_word = field.boolean("single_word", false);
  token.strip_left = field.boolean("lstrip", false);
  token.strip_right = field.boolean("rstrip", false);
  token.normalized = field.boolean("normalized", !token.special);
  return token;
}

void AddedTokenFinder::add(const std::string& pattern, const AddedToken& token) {
  if (pattern.empty()) return;
  uint32_t node = 0;
  for (const char byte : pattern) {
    const auto [edge, is_new] =
        edges_.try_emplace(edge_of(node, byte), static_cast<uint32_t>(nodes_.size()));
    if (is_new) nodes_.push_back(-1);
    node = edge->second;
  }
  if (nodes_[node] >= 0) {
    tokens_[static_cast<size_t>(nodes_[node])].special |= token.special;
    return;
  }
  nodes_[node] = static_cast<int32_t>(tokens_.size());
  tokens_.push_back(
      {token.id, token.single_word, token.strip_left, token.strip_right, token.special});
  starts_[static_cast<unsigned char>(pattern.front())] = true;
}

size_t AddedTokenFinder::longest_at(std::string_view text, size_t at,
                                    int32_t* token) const {
  size_t longest = 0;
  uint32_t node = 0;
  for (size_t end = at; end < text.size(); ++end) {
    const auto edge = edges_.find(edge_of(node, text[end]));
    if (edge == edges_.end()) break;
    node = edge->second;
    if (nodes_[node] >= 0) {
      longest = end + 1 - at;
      *token = nodes_[node];
    }
  }
  return longest;
}

template <class IsText, class Use>
void AddedTokenFinder::walk(std::string_view text, const IsText& is_text,
                            const Use& use) const {
  size_t done = 0;  // where the text that no part covers yet begins
  size_t at = 0;
  while (at < text.size()) {
    int32_t index = -1;
    const size_t size =
        starts_[static_cast<unsigned char>(text[at])] ? longest_at(text, at, &index) : 0;
    if (size == 0) {
      ++at;
      continue;
    }
    size_t start = at;
    size_t end = at + size;
    at = end;  // even where the token is turned down below, nothing is found inside it
    const Flags& token = tokens_[static_cast<size_t>(index)];
    if (token.special && is_text(start, end)) continue;
    if (token.single_word && (word_ends_at(text, start) || word_starts_at(text, end)))
      continue;
    if (token.strip_left) {
      while (start > done && is_white_space(utf8_before(text, start).code))
        start -= utf8_before(text, start).size;
    }
    if (token.strip_right)
      while (end < text.size() && is_white_space(utf8_at(text, end).code))
        end += utf8_at(text, end).size;
    if (done < start) use(done, start, kNoId);
    use(start, end, token.id);
    done = end;
  }
  if (done < text.size()) use(done, text.size(), kNoId);
}

std::vector<AddedTokenFinder::Part> AddedTokenFinder::split(std::string_view text,
                                                            bool special) const {
  std::vector<Part> parts;
  walk(
      text, [&](size_t, size_t) { return !special; },
      [&](size_t begin, size_t end, int32_t id) {
        parts.push_back({text.substr(begin, end - begin), id});
      });
  return parts;
}

std::vector<Tokenizer::Part> AddedTokenFinder::parts(
    std::string_view text, std::span<const Tokenizer::Range> plain) const {
  std::vector<Tokenizer::Part> parts;
  walk(
      text,
      [&](size_t begin, size_t end) {
        const auto range = std::partition_point(
            plain.begin(), plain.end(),
            [&](const Tokenizer::Range& each) { return each.end <= begin; });
        return range != plain.end() && range->begin < end;
      },
      [&](size_t begin, size_t end, int32_t id) {
        parts.push_back({{begin, end}, id == kNoId ? std::nullopt : std::optional(id)});
      });
  return parts;
}

}  // namespace lowmem::tokenization
