#include "data/text.h"

#include <clocale>
#include <cwctype>
#include <locale.h>

namespace lowmem::text {
namespace {

bool is_continuation(char byte) { return (byte & 0xC0) == 0x80; }

// Bytes of the character at `at`.
size_t width_at(std::string_view text, size_t at) {
  size_t width = 1;
  while (at + width < text.size() && is_continuation(text[at + width])) ++width;
  return width;
}

char32_t decode(std::string_view character) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(character[i]); };
  switch (character.size()) {
    case 1:
      return byte(0);
    case 2:
      return (byte(0) & 0x1Fu) << 6 | (byte(1) & 0x3Fu);
    case 3:
      return (byte(0) & 0x0Fu) << 12 | (byte(1) & 0x3Fu) << 6 | (byte(2) & 0x3Fu);
    default:
      return (byte(0) & 0x07u) << 18 | (byte(1) & 0x3Fu) << 12 | (byte(2) & 0x3Fu) << 6 |
             (byte(3) & 0x3Fu);
  }
}

void append(std::string& out, char32_t c) {
  const auto tail = [&](int shift) {
    out.push_back(static_cast<char>(0x80 | ((c >> shift) & 0x3F)));
  };
  if (c < 0x80) {
    out.push_back(static_cast<char>(c));
  } else if (c < 0x800) {
    out.push_back(static_cast<char>(0xC0 | (c >> 6)));
    tail(0);
  } else if (c < 0x10000) {
    out.push_back(static_cast<char>(0xE0 | (c >> 12)));
    tail(6), tail(0);
  } else {
    out.push_back(static_cast<char>(0xF0 | (c >> 18)));
    tail(12), tail(6), tail(0);
  }
}

// What Python's str.isspace() accepts.
bool is_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
         c == 0x202F || c == 0x205F || c == 0x3000;
}

// Unicode's one-to-one case mappings, whatever locale the process runs in.
locale_t unicode_locale() {
  static const locale_t locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  return locale;
}

char32_t mapped(char32_t c, bool upper) {
  if (unicode_locale() == nullptr) {  // ASCII only
    if (upper) return c >= 'a' && c <= 'z' ? c - 32 : c;
    return c >= 'A' && c <= 'Z' ? c + 32 : c;
  }
  const auto wide = static_cast<wint_t>(c);
  return static_cast<char32_t>(upper ? towupper_l(wide, unicode_locale())
                                     : towlower_l(wide, unicode_locale()));
}

}  // namespace

std::string_view trailing_space(std::string_view text) {
  size_t end = text.size();
  while (end > 0) {
    size_t start = end - 1;
    while (start > 0 && is_continuation(text[start])) --start;
    if (!is_space(decode(text.substr(start, end - start)))) break;
    end = start;
  }
  return text.substr(end);
}

std::string strip(const std::string& text) {
  const std::string_view body =
      std::string_view(text).substr(0, text.size() - trailing_space(text).size());
  size_t begin = 0;
  while (begin < body.size()) {
    const size_t width = width_at(body, begin);
    if (!is_space(decode(body.substr(begin, width)))) break;
    begin += width;
  }
  return std::string(body.substr(begin));
}

std::string capitalize(const std::string& text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t width = width_at(text, at);
    append(out, mapped(decode(std::string_view(text).substr(at, width)), at == 0));
    at += width;
  }
  return out;
}

std::string replace(std::string text, std::string_view from, std::string_view to) {
  for (size_t at = text.find(from); at != std::string::npos;
       at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
  return text;
}

int64_t length(std::string_view text) {
  int64_t count = 0;
  for (const char byte : text) count += !is_continuation(byte);
  return count;
}

}  // namespace lowmem::text
