#include "config/keys.h"

#include <string_view>

#include "config/values.h"

namespace lowmem {

bool read_key(RunConfig& config, std::string_view name, const YamlNode& node,
              const std::string& where) {
  bool known = false;
  for_each_key(config, [&](const std::string& key, auto& value, KeyFacts) {
    if (key != name) return;
    known = true;
    read_value(node, where, value);
  });
  return known;
}

bool is_section(std::string_view name) {
  bool known = false;
  RunConfig().visit(
      [&](const char* section, auto&, const char*) { known = known || section == name; });
  return known;
}

}  // namespace lowmem
