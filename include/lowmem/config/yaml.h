#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "lowmem/config/run_config.h"

namespace lowmem {

// A run's YAML file, over the defaults. A section may be missing or empty. Refused,
// naming the file and line: unknown keys (with the nearest valid one), wrong types,
// numbers that are not finite or do not fit, keys given twice, bad syntax, several
// documents, anchors, aliases, tags, more nesting than the configuration has, and files
// above 1 MiB. Values are checked for type only; validate() checks ranges and
// contradictions.
RunConfig load_config(const std::filesystem::path& path);

// The same from text; keys that `text` does not name keep their value in `config`.
// `source` names the text in errors. On an error `config` is unchanged.
void apply_yaml(RunConfig& config, std::string_view text, const std::string& source);

// Every key with its value, in the order of --help. apply_yaml() of it gives an equal
// config back: numbers are the shortest text that reads as the same double.
std::string to_yaml(const RunConfig& config);

}  // namespace lowmem
