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

// len().
int64_t length(std::string_view text);

}  // namespace lowmem::text
