#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace lowmem::metrics {

struct FoundRun {
  std::filesystem::path folder;
  std::string name;  // below the folder that all of them have in common
};

// A run's folder has a config.yaml or a results.json.
bool is_run(const std::filesystem::path& folder);

// The run folders among `paths` and in the folders among them, in that order; those in a
// folder by name, numbers by value. Each is there once. Other files are passed over, so
// that `runs/*` may name them. Throws Error naming a path that is not there, or a folder
// that neither is nor holds a run's.
std::vector<FoundRun> find_runs(const std::vector<std::filesystem::path>& paths);

// The folder that holds all of them.
std::filesystem::path common_folder(const std::vector<FoundRun>& runs);

}  // namespace lowmem::metrics
