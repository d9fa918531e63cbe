#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace lowmem {

// Throws Error naming the path where it is a folder, or a pipe, device or socket: those
// may never begin or never end. Links are followed; what does not exist passes.
void refuse_other_than_file(const std::filesystem::path& path);

// Whether something has this name. True too for a link that leads nowhere, and where the
// system will not say (a folder that may not be searched), so that reading it names the
// cause.
bool is_there(const std::filesystem::path& path);

// The whole file. Throws Error naming the path when it cannot be read, is not a regular
// file, or is larger than `max_bytes`.
std::string read_file(const std::filesystem::path& path,
                      int64_t max_bytes = int64_t{1} << 30);

// Whether brackets outside strings nest deeper than `depth`. Costs one pass and no
// memory: asked before a parser builds anything of the text.
bool is_nested_deeper(std::string_view json, int depth);

// The file as JSON. Throws Error naming the path, and the line of a syntax error, also
// for a key that an object of a file of at most 1 MiB has twice, what is larger than
// `max_bytes` or nested deeper than 64: a text of brackets and commas takes up to 20
// times its size in memory.
nlohmann::json read_json(const std::filesystem::path& path,
                         int64_t max_bytes = int64_t{1} << 26);

}  // namespace lowmem
