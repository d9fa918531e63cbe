#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "commands.h"
#include "lowmem/config/run_config.h"

namespace lowmem::cli {

// Gives `app` --config, the short flags and the overrides.
std::shared_ptr<ConfigOptions> add_config_options(CLI::App& app);

// The configuration they make, not yet validated.
RunConfig config_of(const ConfigOptions& options);

// Throws Error where a file is there that is not of the kind about to be written, which
// has `mark` in its first KiB: the name may be mistyped. `option` makes them.
void refuse_another_file(const std::filesystem::path& file, std::string_view mark,
                         const std::string& option);

// Throws Error where the folder holds anything.
void refuse_folder_with_files(const std::filesystem::path& folder);

// Of an option's value: a whole number from 0 up that 63 bits hold.
extern const CLI::Validator kCount;

}  // namespace lowmem::cli
