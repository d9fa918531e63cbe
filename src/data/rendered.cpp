#include "data/rendered.h"

#include <algorithm>

#include "data/draft.h"

namespace lowmem {
namespace {

std::vector<Tokenizer::Range> given_ranges(const jinja::Text& text) {
  std::vector<Tokenizer::Range> given;
  size_t begin = 0;
  for (const jinja::Text::Run& run : text.runs()) {
    if (run.source != jinja::kOwn) {
      if (!given.empty() && given.back().end == begin)
        given.back().end = run.end;
      else
        given.push_back({begin, run.end});
    }
    begin = run.end;
  }
  return given;
}

}  // namespace

RenderedTokens::RenderedTokens(const jinja::Text& text, const Tokenizer& tokenizer)
    : text_(text.bytes()), tokenizer_(tokenizer) {
  for (const Tokenizer::Part& part : tokenizer.parts(text_, given_ranges(text))) {
    Part placed{part};
    placed.first = ids_.size();
    if (part.id) {
      ids_.push_back(*part.id);
    } else {
      const auto more = tokenizer.encode_plain(
          text.view().substr(part.begin, part.end - part.begin), part.begin == 0);
      ids_.insert(ids_.end(), more.begin(), more.end());
    }
    placed.count = ids_.size() - placed.first;
    parts_.push_back(placed);
  }
}

// The token that holds this byte.
size_t RenderedTokens::token_at(size_t byte) const {
  const auto part = std::partition_point(
      parts_.begin(), parts_.end(), [&](const Part& each) { return each.end <= byte; });
  if (part == parts_.end()) return ids_.size();
  const size_t offset = byte - part->begin;
  if (part->id || offset == 0) return part->first;
  const std::string_view text =
      std::string_view(text_).substr(part->begin, part->end - part->begin);
  std::string pieces;
  size_t found = part->count;
  for (size_t i = 0; i < part->count; ++i) {
    pieces += tokenizer_.piece(ids_[part->first + i]);
    if (found == part->count && pieces.size() > offset) found = i;
  }
  if (pieces == text) return part->first + found;
  // SentencePiece puts a space before a text, or the tokenizer writes it otherwise: the
  // tokens that the text up to here has alone are before it.
  const auto before = tokenizer_.encode_plain(text.substr(0, offset), part->begin == 0);
  const std::span all(ids_.data() + part->first, part->count);
  return part->first + std::min(tokens_of_beginning(before, all), part->count - 1);
}

std::pair<size_t, size_t> RenderedTokens::tokens_of(size_t begin, size_t end) const {
  if (begin >= end) return {0, 0};
  const size_t first = token_at(begin);
  // A text's end, or a token's beginning: nothing is cut there.
  for (const Part& part : parts_) {
    if (part.end == end) return {first, part.first + part.count};
    if (part.end > end) break;
  }
  return {first, std::min(token_at(end - 1) + 1, ids_.size())};
}

size_t RenderedTokens::last_written_token(size_t begin, size_t end) const {
  size_t found = 0;
  for (const Part& part : parts_)
    if (part.id && part.begin >= begin && part.end <= end) found = part.end;
  return found;
}

}  // namespace lowmem
