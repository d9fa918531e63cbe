#include "lowmem/config/differences.h"

#include "config/keys.h"
#include "config/values.h"

namespace lowmem {
namespace {

struct Value {
  std::string key, text;
  Alters alters;
};

std::vector<Value> values_of(RunConfig config) {
  std::vector<Value> values;
  for_each_key(config, [&](const std::string& key, const auto& value, KeyFacts facts) {
    values.push_back({key, format_value(value), facts.alters});
  });
  return values;
}

}  // namespace

std::vector<Difference> differences(const RunConfig& before, const RunConfig& after) {
  const auto old_values = values_of(before), new_values = values_of(after);
  std::vector<Difference> found;
  for (size_t i = 0; i < old_values.size(); ++i)
    if (old_values[i].text != new_values[i].text)
      found.push_back({old_values[i].key, old_values[i].text, new_values[i].text,
                       old_values[i].alters});
  return found;
}

}  // namespace lowmem
