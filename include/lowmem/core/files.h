#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace lowmem {

// The whole file. Throws Error naming the path when it cannot be read, is a folder, or is
// larger than `max_bytes`.
std::string read_file(const std::filesystem::path& path,
                      int64_t max_bytes = int64_t{1} << 30);

// The file as JSON. Throws Error naming the path and the line of a syntax error.
nlohmann::json read_json(const std::filesystem::path& path);

}  // namespace lowmem
