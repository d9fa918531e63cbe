#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace lowmem {

// Keys of `json` and of all that is in it.
template <class Json>
size_t count_keys(const Json& json) {
  if (!json.is_structured()) return 0;
  size_t keys = json.is_object() ? json.size() : 0;
  for (const auto& item : json) keys += count_keys(item);
  return keys;
}

// Keys that valid JSON has, those of one name in an object each.
size_t count_keys_of_text(std::string_view json);

// The first key of valid JSON that an object has already; the slow way to know.
std::optional<std::string> find_repeated_key(std::string_view json);

// The same for a text and what the library made of it: of two values under one key it
// keeps the last, without a word. Costs a pass over both where there are none.
template <class Json>
std::optional<std::string> repeated_key(std::string_view text, const Json& json) {
  if (count_keys_of_text(text) == count_keys(json)) return std::nullopt;
  return find_repeated_key(text);
}

}  // namespace lowmem
