#include "lowmem/core/json_keys.h"

#include <algorithm>
#include <set>
#include <vector>

namespace lowmem {
namespace {

// Behind the string that begins at `at`.
size_t end_of_string(std::string_view json, size_t at) {
  for (size_t quote = json.find('"', at + 1); quote != json.npos;
       quote = json.find('"', quote + 1)) {
    const size_t plain = json.find_last_not_of('\\', quote - 1);
    if ((quote - plain) % 2 == 1) return quote + 1;  // an even number of backslashes
  }
  return json.size();
}

}  // namespace

size_t count_keys_of_text(std::string_view json) {
  size_t keys = 0;
  for (size_t at = 0; at < json.size();) {
    if (json[at] == '"') {
      at = end_of_string(json, at);
      continue;
    }
    if (json[at] == ':') ++keys;
    ++at;
  }
  return keys;
}

std::optional<std::string> find_repeated_key(std::string_view json) {
  using Event = nlohmann::json::parse_event_t;
  std::optional<std::string> found;
  std::vector<std::set<std::string>> open;
  const auto watch = [&](int, Event event, const nlohmann::json& value) {
    if (event == Event::object_start) open.emplace_back();
    if (event == Event::object_end) open.pop_back();
    if (event == Event::key && !found &&
        !open.back().insert(value.get<std::string>()).second)
      found = value.get<std::string>();
    return true;
  };
  const nlohmann::json parsed = nlohmann::json::parse(json, watch);
  return found;
}

}  // namespace lowmem
