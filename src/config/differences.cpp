#include "lowmem/config/differences.h"

#include "config/keys.h"
#include "config/values.h"

namespace lowmem {
namespace {

std::vector<std::pair<std::string, std::string>> values_of(RunConfig config) {
  std::vector<std::pair<std::string, std::string>> values;
  for_each_key(config, [&](const std::string& key, const auto& value, const char*) {
    values.emplace_back(key, format_value(value));
  });
  return values;
}

}  // namespace

std::vector<Difference> differences(const RunConfig& before, const RunConfig& after) {
  const auto old_values = values_of(before), new_values = values_of(after);
  std::vector<Difference> found;
  for (size_t i = 0; i < old_values.size(); ++i)
    if (old_values[i].second != new_values[i].second)
      found.push_back({old_values[i].first, old_values[i].second, new_values[i].second});
  return found;
}

}  // namespace lowmem
