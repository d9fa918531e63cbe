#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "lowmem/template/value.h"

// Python's methods of str on texts with sources. None looks at more than its arguments;
// each is O(n).
namespace lowmem::jinja {

enum class Side { kLeft, kRight, kBoth };

// Without `characters`: white space.
Text strip(const Text& text, std::optional<std::string_view> characters, Side side);
Text lower(const Text& text);
Text upper(const Text& text);
Text capitalize(const Text& text);
Text title(const Text& text);        // the method
Text jinja_title(const Text& text);  // the filter
Text replace(const Text& text, std::string_view from, const Text& to, int64_t most);
std::vector<Text> split(const Text& text, std::string_view separator, int64_t most,
                        Side from);
std::vector<Text> split_at_space(const Text& text, int64_t most, Side from);
std::vector<Text> split_lines(const Text& text, bool keeps_ends);
Text joined(const std::vector<Text>& parts, const Text& between);
int64_t count(std::string_view text, std::string_view part);

}  // namespace lowmem::jinja
