#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace lowmem {

// The character of well-formed UTF-8 at a position.
struct Utf8Char {
  char32_t code = 0;
  size_t size = 0;  // bytes
};

// The character that starts at `at` < text.size(). `text` must be well-formed.
Utf8Char utf8_at(std::string_view text, size_t at);

// The character that ends at `end` > 0. `text` must be well-formed.
Utf8Char utf8_before(std::string_view text, size_t end);

void append_utf8(std::string& text, char32_t code);

bool is_utf8(std::string_view text);

// `bytes` with each maximal subpart of an ill-formed sequence replaced by U+FFFD: The
// Unicode Standard 15.0, section 3.9, "U+FFFD Substitution of Maximal Subparts". Python's
// decode(errors="replace") and Rust's from_utf8_lossy do the same.
std::string to_utf8(std::string_view bytes);

// Unicode's White_Space property.
bool is_white_space(char32_t code);

}  // namespace lowmem
