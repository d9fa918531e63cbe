#include "lowmem/train/run_folder.h"

#include <nlohmann/json.hpp>
#include <system_error>

#include "lowmem/config/yaml.h"
#include "lowmem/core/error.h"
#include "lowmem/core/files.h"
#include "lowmem/io/atomic_file.h"

namespace lowmem::train {
namespace {

// Everything a run writes; nothing else in the folder is touched.
void remove_old_run(const std::filesystem::path& folder) {
  for (const char* name : {"config.yaml", "metrics.jsonl", "results.json"})
    std::filesystem::remove(folder / name);
  std::filesystem::remove_all(folder / "model");
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("evaluation-") && name.ends_with(".jsonl"))
      std::filesystem::remove(entry.path());
  }
}

}  // namespace

RunFolder::RunFolder(const RunConfig& config)
    : path_(std::filesystem::path(config.run.dir) / config.run.name) {
  try {
    if (std::filesystem::exists(results()) && !config.run.overwrite)
      throw Error(path_.string(), "holds a finished run",
                  "Choose another run.name, or set run.overwrite = true to replace it");
    std::filesystem::create_directories(path_);
    remove_old_run(path_);
  } catch (const std::filesystem::filesystem_error& error) {
    throw Error(path_.string(),
                "cannot be made ready for a run (" + error.code().message() + ")",
                "Check run.dir and its permissions");
  }
  write_file_atomically(path_ / "config.yaml", to_yaml(config));
}

std::filesystem::path RunFolder::evaluation(int64_t step) const {
  return path_ / ("evaluation-" + std::to_string(step) + ".jsonl");
}

}  // namespace lowmem::train
