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
  Alters alters;
  std::string doc;  // one line
};

// Every key, in the order of the sections.
std::vector<KeyInfo> config_keys();

inline constexpr size_t kHelpWidth = 80;  // columns of a page of --help

// `text` broken at blanks into lines of at most kHelpWidth columns, each after the first
// behind `indent` blanks. The first begins in column `column`.
std::string wrapped(const std::string& text, size_t column, size_t indent);

// The same as text for --help: a heading a section, then each key with its default.
std::string config_help();

// And as Markdown: a heading and a table a section. docs/configuration.md holds it, put
// there by scripts/make_docs.sh.
std::string config_markdown();

}  // namespace lowmem
