#include "lowmem/core/utf8.h"

namespace lowmem {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

unsigned char byte_at(std::string_view text, size_t at) {
  return static_cast<unsigned char>(text[at]);
}

struct Sequence {
  size_t size;  // of the character, or of the maximal subpart
  bool well_formed;
};

// Table 3-7 of the Unicode Standard: the first byte gives the length and the bounds of
// the second; all later ones lie in 80..BF.
Sequence sequence_at(std::string_view text, size_t at) {
  const unsigned char first = byte_at(text, at);
  if (first < 0x80) return {1, true};
  size_t size = 0;
  unsigned char low = 0x80;
  unsigned char high = 0xBF;
  if (first >= 0xC2 && first <= 0xDF) {
    size = 2;
  } else if (first >= 0xE0 && first <= 0xEF) {
    size = 3;
    if (first == 0xE0) low = 0xA0;
    if (first == 0xED) high = 0x9F;
  } else if (first >= 0xF0 && first <= 0xF4) {
    size = 4;
    if (first == 0xF0) low = 0x90;
    if (first == 0xF4) high = 0x8F;
  } else {
    return {1, false};
  }
  for (size_t i = 1; i < size; ++i) {
    if (at + i >= text.size()) return {i, false};
    const unsigned char next = byte_at(text, at + i);
    if (next < low || next > high) return {i, false};
    low = 0x80;
    high = 0xBF;
  }
  return {size, true};
}

// The end of the well-formed text that starts at `at`.
size_t well_formed_end(std::string_view text, size_t at) {
  while (at < text.size()) {
    const Sequence sequence = sequence_at(text, at);
    if (!sequence.well_formed) break;
    at += sequence.size;
  }
  return at;
}

}  // namespace

Utf8Char utf8_at(std::string_view text, size_t at) {
  const unsigned char first = byte_at(text, at);
  if (first < 0x80) return {first, 1};
  const size_t size = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  char32_t code = first & (0x7Fu >> size);
  for (size_t i = 1; i < size; ++i) code = code << 6 | (byte_at(text, at + i) & 0x3Fu);
  return {code, size};
}

Utf8Char utf8_before(std::string_view text, size_t end) {
  size_t start = end - 1;
  while (start > 0 && (byte_at(text, start) & 0xC0) == 0x80) --start;
  return utf8_at(text, start);
}

void append_utf8(std::string& text, char32_t code) {
  const auto put = [&](char32_t byte) { text.push_back(static_cast<char>(byte)); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | code >> 6);
    put(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    put(0xE0 | code >> 12);
    put(0x80 | (code >> 6 & 0x3F));
    put(0x80 | (code & 0x3F));
  } else {
    put(0xF0 | code >> 18);
    put(0x80 | (code >> 12 & 0x3F));
    put(0x80 | (code >> 6 & 0x3F));
    put(0x80 | (code & 0x3F));
  }
}

bool is_utf8(std::string_view text) { return well_formed_end(text, 0) == text.size(); }

std::string to_utf8(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  size_t at = 0;
  while (at < bytes.size()) {
    const size_t end = well_formed_end(bytes, at);
    text.append(bytes, at, end - at);
    at = end;
    if (at == bytes.size()) break;
    text += kReplacement;
    at += sequence_at(bytes, at).size;
  }
  return text;
}

bool is_white_space(char32_t code) {
  return (code >= 0x09 && code <= 0x0D) || code == 0x20 || code == 0x85 || code == 0xA0 ||
         code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 ||
         code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

}  // namespace lowmem
