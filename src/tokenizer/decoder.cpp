#include "tokenizer/decoder.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "lowmem/core/error.h"
#include "lowmem/core/units.h"
#include "lowmem/core/utf8.h"
#include "tokenizer/normalizer.h"

namespace lowmem::tokenization {
namespace {

using Pieces = std::vector<std::string>;

std::string join(const Pieces& pieces, std::string_view between) {
  std::string text;
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (i > 0) text += between;
    text += pieces[i];
  }
  return text;
}

// The byte that a piece such as <0x0A> stands for.
std::optional<char> byte_of(std::string_view piece) {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece.back() != '>')
    return std::nullopt;
  unsigned value = 0;
  const char* end = piece.data() + 5;
  if (std::from_chars(piece.data() + 3, end, value, 16).ptr != end) return std::nullopt;
  return static_cast<char>(value);
}

// Runs of byte pieces become the text they spell, or one U+FFFD a byte if they spell
// none.
Pieces fall_back_to_bytes(const Pieces& pieces) {
  Pieces result;
  std::string run;
  const auto end_run = [&] {
    if (is_utf8(run))
      result.push_back(run);
    else
      result.insert(result.end(), run.size(), "\xEF\xBF\xBD");
    run.clear();
  };
  for (const std::string& piece : pieces) {
    if (const auto byte = byte_of(piece)) {
      run += *byte;
      continue;
    }
    if (!run.empty()) end_run();
    result.push_back(piece);
  }
  if (!run.empty()) end_run();
  return result;
}

std::string strip(std::string_view text, std::string_view what, int64_t start,
                  int64_t stop) {
  for (int64_t i = 0; i < start && text.starts_with(what); ++i)
    text.remove_prefix(what.size());
  for (int64_t i = 0; i < stop && text.ends_with(what); ++i)
    text.remove_suffix(what.size());
  return std::string(text);
}

std::string read_character(const JsonField& field) {
  const std::string& text = field.string();
  if (text.empty() || utf8_at(text, 0).size != text.size())
    field.fail("is not one character");
  return text;
}

// A step may lengthen a text by so much at most, wherever it finds its pattern.
std::string read_content(const JsonField& field) {
  constexpr size_t kLongestContent = 256;  // bytes
  const std::string& text = field.string();
  if (text.size() > kLongestContent) field.refuse("a replacement so long");
  return text;
}

size_t size_of(const Pieces& pieces) {
  size_t size = 0;
  for (const std::string& piece : pieces) size += piece.size();
  return size;
}

int64_t read_count(const JsonField& field) {
  const int64_t count = field.integer();
  if (count < 0) field.fail("is negative");
  return count;
}

}  // namespace

Decoder::Decoder(const JsonField& field) : where_(field.where()), present_(true) {
  read(field, 0);
}

void Decoder::read(const JsonField& field, int depth) {
  const std::string& type = field.at("type").string();
  if (steps_.size() >= kMostSteps) field.refuse("a sequence so long");
  if (type == "Sequence") {
    if (depth == kDeepestSequence) field.refuse("a sequence so deep");
    for (const JsonField& step : field.at("decoders").elements()) read(step, depth + 1);
  } else if (type == "Replace") {
    steps_.push_back({.kind = Step::Kind::kReplace,
                      .pattern = read_plain_pattern(field),
                      .content = read_content(field.at("content"))});
  } else if (type == "ByteFallback") {
    steps_.push_back({.kind = Step::Kind::kByteFallback, .pattern = {}, .content = {}});
  } else if (type == "Fuse") {
    steps_.push_back({.kind = Step::Kind::kFuse, .pattern = {}, .content = {}});
  } else if (type == "Strip") {
    steps_.push_back({.kind = Step::Kind::kStrip,
                      .pattern = read_character(field.at("content")),
                      .content = {},
                      .start = read_count(field.at("start")),
                      .stop = read_count(field.at("stop"))});
  } else if (type == "Metaspace") {
    const auto scheme = field.find("prepend_scheme");
    steps_.push_back({.kind = Step::Kind::kMetaspace,
                      .pattern = read_character(field.at("replacement")),
                      .content = {},
                      .prefixed = !scheme || scheme->string() != "never"});
  } else {
    field.refuse("the decoder " + type);
  }
}

Decoder Decoder::sentencepiece(bool strip_leading_space) {
  Decoder decoder;
  decoder.present_ = true;
  decoder.steps_ = {
      {.kind = Step::Kind::kReplace, .pattern = "\xE2\x96\x81", .content = " "},
      {.kind = Step::Kind::kByteFallback, .pattern = {}, .content = {}},
      {.kind = Step::Kind::kFuse, .pattern = {}, .content = {}},
      {.kind = Step::Kind::kStrip,
       .pattern = " ",
       .content = {},
       .start = strip_leading_space ? 1 : 0}};
  return decoder;
}

std::string Decoder::operator()(Pieces pieces) const {
  if (!present_) return join(pieces, " ");
  const size_t longest = kMiB + 16 * size_of(pieces);
  for (const Step& step : steps_) {
    switch (step.kind) {
      case Step::Kind::kReplace:
        for (std::string& piece : pieces)
          piece = replace_all(piece, step.pattern, step.content);
        break;
      case Step::Kind::kByteFallback:
        pieces = fall_back_to_bytes(pieces);
        break;
      case Step::Kind::kFuse:
        pieces = {join(pieces, "")};
        break;
      case Step::Kind::kStrip:
        for (std::string& piece : pieces)
          piece = strip(piece, step.pattern, step.start, step.stop);
        break;
      case Step::Kind::kMetaspace:
        for (size_t i = 0; i < pieces.size(); ++i)
          pieces[i] =
              replace_all(pieces[i], step.pattern, i == 0 && step.prefixed ? "" : " ");
        break;
    }
    if (size_of(pieces) > longest)
      throw Error(where_,
                  "makes more than " + format_bytes(static_cast<int64_t>(longest)) +
                      " of " + std::to_string(pieces.size()) + " pieces",
                  kFetchAgain);
  }
  return join(pieces, "");
}

std::string text_of_piece(std::string_view piece) {
  if (const auto byte = byte_of(piece)) return std::string(1, *byte);
  constexpr std::string_view kMark = "\xE2\x96\x81";
  std::string text;
  for (size_t at; (at = piece.find(kMark)) != std::string_view::npos;) {
    text.append(piece.substr(0, at)) += ' ';
    piece.remove_prefix(at + kMark.size());
  }
  return text.append(piece);
}

}  // namespace lowmem::tokenization
