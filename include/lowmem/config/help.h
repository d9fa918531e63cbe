#pragma once

#include <string>
#include <vector>

#include "lowmem/config/run_config.h"

namespace lowmem {

struct KeyInfo {
  std::string name;                // with its section: "optimizer.lr"
  std::string type;                // "number", "true | false", "adam | adamw | ...", ...
  std::vector<std::string> words;  // that may be written; empty for texts and numbers
  std::string default_value;       // as to_yaml() writes it
  std::string doc;                 // one line
};

// Every key, in the order of the sections.
std::vector<KeyInfo> config_keys();

// The same as text for --help: a heading a section, then a line a key, of at most 100
// columns.
std::string config_help();

// And as Markdown: a heading and a table a section. docs/configuration.md holds it, put
// there by scripts/make_docs.sh.
std::string config_markdown();

}  // namespace lowmem
