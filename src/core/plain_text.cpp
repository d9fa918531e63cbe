#include "lowmem/core/plain_text.h"

#include <algorithm>
#include <cstdio>

namespace lowmem {
namespace {

constexpr bool in(unsigned value, unsigned first, unsigned last) {
  return value >= first && value <= last;
}

// The Unicode Standard 15.0, table 3-7: bytes of the sequence that begins with `first`
// and `second`; 0 where none does.
size_t sequence_length(unsigned first, unsigned second) {
  if (in(first, 0xc2, 0xdf)) return in(second, 0x80, 0xbf) ? 2 : 0;
  if (in(first, 0xe0, 0xef))
    return in(second, first == 0xe0 ? 0xa0 : 0x80, first == 0xed ? 0x9f : 0xbf) ? 3 : 0;
  if (in(first, 0xf0, 0xf4))
    return in(second, first == 0xf0 ? 0x90 : 0x80, first == 0xf4 ? 0x8f : 0xbf) ? 4 : 0;
  return 0;
}

bool is_obeyed(std::string_view character) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(character[i]); };
  if (character.size() == 1) return byte(0) < 0x20 || byte(0) == 0x7f;
  if (character.size() == 2) return byte(0) == 0xc2 && byte(1) < 0xa0;
  if (character.size() != 3 || byte(0) != 0xe2) return false;
  return (byte(1) == 0x80 && in(byte(2), 0xa8, 0xae)) ||  // U+2028 to U+202E
         (byte(1) == 0x81 && in(byte(2), 0xa6, 0xa9));    // U+2066 to U+2069
}

std::string cleaned(std::string_view text, bool lines) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const auto [bytes, plain] = first_character(text);
    const bool kept = plain || (lines && text.starts_with("\n  "));
    result += kept ? text.substr(0, bytes) : "?";
    text.remove_prefix(bytes);
  }
  return result;
}

}  // namespace

FirstCharacter first_character(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  size_t bytes = 1;
  if (byte(0) >= 0x80) {
    bytes = text.size() > 1 ? sequence_length(byte(0), byte(1)) : 0;
    if (bytes == 0 || bytes > text.size()) return {};
    for (size_t i = 2; i < bytes; ++i)
      if (!in(byte(i), 0x80, 0xbf)) return {};
  }
  return {bytes, !is_obeyed(text.substr(0, bytes))};
}

size_t find_not_utf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const size_t bytes = first_character(text.substr(at)).bytes;
    if (bytes == 1 && static_cast<unsigned char>(text[at]) >= 0x80) return at;
    at += bytes;
  }
  return std::string_view::npos;
}

std::string plain(std::string_view text) { return cleaned(text, /*lines=*/false); }

std::string plain_lines(std::string_view text) { return cleaned(text, /*lines=*/true); }

bool is_plain(std::string_view text) {
  while (!text.empty()) {
    const auto [bytes, plain] = first_character(text);
    if (!plain) return false;
    text.remove_prefix(bytes);
  }
  return true;
}

std::string_view first_bytes(std::string_view text, size_t bytes) {
  if (text.size() <= bytes) return text;
  constexpr size_t kLongestCharacter = 4;
  size_t end = bytes;
  while (end > 0 && bytes - end < kLongestCharacter &&
         (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80)
    --end;
  return text.substr(0, end);
}

std::string shell_word(std::string_view text) {
  const auto is_bare = [](char c) {
    return in(static_cast<unsigned char>(c), 'a', 'z') ||
           in(static_cast<unsigned char>(c), 'A', 'Z') ||
           in(static_cast<unsigned char>(c), '0', '9') ||
           std::string_view("_-./:=,+@%").find(c) != std::string_view::npos;
  };
  if (!text.empty() && std::all_of(text.begin(), text.end(), is_bare))
    return std::string(text);
  const bool escapes = !is_plain(text);
  std::string word = escapes ? "$'" : "'";
  while (!text.empty()) {
    const auto [bytes, plain] = first_character(text);
    const std::string_view character = text.substr(0, bytes);
    if (!plain) {
      for (const char c : character) {
        char escape[5];  // of octal digits: hexadecimal ones would take what follows
        std::snprintf(escape, sizeof escape, "\\%03o", static_cast<unsigned char>(c));
        word += escape;
      }
    } else if (character == "'") {
      word += escapes ? "\\'" : "'\\''";
    } else {
      if (escapes && character == "\\") word += '\\';
      word += character;
    }
    text.remove_prefix(bytes);
  }
  return word + "'";
}

}  // namespace lowmem
