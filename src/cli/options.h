#pragma once

#include <CLI/CLI.hpp>
#include <memory>

#include "commands.h"
#include "lowmem/config/run_config.h"

namespace lowmem::cli {

// Gives `app` --config, the short flags and the overrides.
std::shared_ptr<ConfigOptions> add_config_options(CLI::App& app);

// The configuration they make, not yet validated.
RunConfig config_of(const ConfigOptions& options);

}  // namespace lowmem::cli
