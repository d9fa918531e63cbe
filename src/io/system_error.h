#pragma once

#include <filesystem>
#include <string>

#include "lowmem/core/error.h"

namespace lowmem {

// The Error for a system call on `path` that failed with error number `code`: `problem`,
// the system's reason in brackets, and the remedy that goes with that reason.
Error system_error(const std::filesystem::path& path, const std::string& problem,
                   int code);

}  // namespace lowmem
