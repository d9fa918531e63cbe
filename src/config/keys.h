#pragma once

#include <string>

#include "lowmem/config/run_config.h"

namespace lowmem {

// What is known of a key beside its value.
struct KeyFacts {
  Alters alters;
  const char* doc;
};

// Calls use("section.key", value, facts) for every key of the configuration.
template <class Use>
void for_each_key(RunConfig& config, Use&& use) {
  config.visit([&](const std::string& section_name, auto& section, const char*) {
    section.visit([&](const char* name, auto& value, Alters alters, const char* doc) {
      use(section_name + "." + name, value, KeyFacts{alters, doc});
    });
  });
}

struct YamlNode;

// Reads `node` into the key of that name. `where` names it in errors. False when there is
// no such key.
bool read_key(RunConfig& config, std::string_view name, const YamlNode& node,
              const std::string& where);

bool is_section(std::string_view name);

}  // namespace lowmem
