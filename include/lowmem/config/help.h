#pragma once

#include <string>
#include <vector>

#include "lowmem/config/run_config.h"

namespace lowmem {

struct KeyInfo {
  std::string name;           // with its section: "optimizer.lr"
  std::string type;           // "number", "true | false", "adam | adamw | ...", ...
  std::string default_value;  // as to_yaml() writes it
  std::string doc;            // one line
};

// Every key, in the order of the sections.
std::vector<KeyInfo> config_keys();

// The same as text for --help: a heading a section, then a line a key.
std::string config_help();

}  // namespace lowmem
