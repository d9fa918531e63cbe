#include "lowmem/config/help.h"

#include <algorithm>

#include "config/keys.h"
#include "config/values.h"

namespace lowmem {
namespace {

constexpr size_t kDocColumn = 36;

// Types that the default and the doc do not already tell.
bool worth_a_line(const std::string& type) {
  return type.find('|') != std::string::npos && type != type_name(bool()) &&
         type != type_name(AutoDouble());
}

}  // namespace

std::vector<KeyInfo> config_keys() {
  std::vector<KeyInfo> keys;
  RunConfig defaults;
  for_each_key(defaults,
               [&](const std::string& name, const auto& value, const char* doc) {
                 keys.push_back({name, type_name(value), format_value(value), doc});
               });
  return keys;
}

std::string config_help() {
  std::string help;
  const std::vector<KeyInfo> keys = config_keys();
  RunConfig defaults;
  defaults.visit([&](const std::string& section, auto&, const char* section_doc) {
    (help += help.empty() ? "" : "\n") += section + ": " + section_doc + "\n";
    for (const KeyInfo& key : keys) {
      if (!key.name.starts_with(section + ".")) continue;
      std::string line = "  " + key.name + "=" + key.default_value;
      line.resize(std::max(line.size() + 2, kDocColumn), ' ');
      help += line + key.doc + "\n";
      if (worth_a_line(key.type)) help += std::string(kDocColumn, ' ') + key.type + "\n";
    }
  });
  return help;
}

}  // namespace lowmem
