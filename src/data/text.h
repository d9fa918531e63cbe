#pragma once

#include <cstdint>
#include <string>
#include <string_view>

// Python's string methods, where a rule of the field is written in them. Text is UTF-8 and
// has been checked.
namespace lowmem::text {

// str.strip(): white space as Unicode has it, at both ends.
std::string strip(const std::string& text);
// The white space at the end alone.
std::string_view trailing_space(std::string_view text);
// str.capitalize(): the first character upper case, the rest lower.
std::string capitalize(const std::string& text);
// str.replace().
std::string replace(std::string text, std::string_view from, std::string_view to);
// len().
int64_t length(std::string_view text);

}  // namespace lowmem::text
