#pragma once

#include <cstdint>
#include <string>
#include <string_view>

// Python's string methods, where a rule of the field is written in them. Text is UTF-8
// and has been checked. Each is O(n).
namespace lowmem::text {

// str.strip(): the characters of str.isspace(), at both ends.
std::string strip(std::string_view text);

// What str.rstrip() takes away.
std::string_view trailing_space(std::string_view text);

// str.capitalize(): the first character in title case, the rest in lower case, with the
// characters that become several and the Greek final sigma.
std::string capitalize(std::string_view text);

// str.replace(): each `from`, which is not empty, found from left to right.
std::string replace(std::string_view text, std::string_view from, std::string_view to);

// What str.lower(), upper() and title() put for a character of `text`, at [begin, end):
// some become several, and a sigma asks what stands around it.
void append_lower(std::string& out, std::string_view text, size_t begin, size_t end);
void append_upper(std::string& out, char32_t c);
void append_title(std::string& out, char32_t c);

// str.isspace(), isprintable(), and what title(), islower() and isupper() ask, of one
// character.
bool is_space(char32_t c);
bool is_printable(char32_t c);
bool is_cased(char32_t c);
bool is_lower(char32_t c);
bool is_upper(char32_t c);

// len().
int64_t length(std::string_view text);

}  // namespace lowmem::text
