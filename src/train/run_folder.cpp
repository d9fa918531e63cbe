#include "lowmem/train/run_folder.h"

#include <algorithm>
#include <system_error>
#include <vector>

#include "lowmem/config/yaml.h"
#include "lowmem/core/error.h"
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

// Training from or on what a run of this name would replace would destroy it.
void refuse_inputs_inside(const std::filesystem::path& folder, const RunConfig& config) {
  std::vector<std::string> inputs = config.data.train;
  inputs.push_back(config.model.path);
  inputs.push_back(config.eval.data);
  const auto root = std::filesystem::weakly_canonical(folder);
  for (const std::string& input : inputs) {
    if (input.empty()) continue;
    const auto path = std::filesystem::weakly_canonical(input);
    if (std::mismatch(root.begin(), root.end(), path.begin(), path.end()).first ==
        root.end())
      throw Error(input, "lies in " + folder.string() + ", which this run would replace",
                  "Choose another run.name or run.dir");
  }
}

[[noreturn]] void fail(const std::filesystem::path& folder,
                       const std::filesystem::filesystem_error& error) {
  throw Error(folder.string(),
              "cannot be made ready for a run (" + error.code().message() + ")",
              "Check run.dir and its permissions");
}

}  // namespace

RunFolder::RunFolder(const RunConfig& config)
    : path_(std::filesystem::path(config.run.dir) / config.run.name) {
  try {
    refuse_inputs_inside(path_, config);
    if (std::filesystem::exists(results()) && !config.run.overwrite)
      throw Error(path_.string(), "holds a finished run",
                  "Choose another run.name, or set run.overwrite = true to replace it");
    if (std::filesystem::exists(path_) && !std::filesystem::is_empty(path_) &&
        !std::filesystem::exists(path_ / "config.yaml"))
      throw Error(path_.string(), "is not empty, and no run made it",
                  "Choose another run.name or run.dir; nothing was touched");
  } catch (const std::filesystem::filesystem_error& error) {
    fail(path_, error);
  }
}

void RunFolder::prepare(const RunConfig& config) const {
  try {
    std::filesystem::create_directories(path_);
    remove_old_run(path_);
  } catch (const std::filesystem::filesystem_error& error) {
    fail(path_, error);
  }
  write_file_atomically(path_ / "config.yaml", to_yaml(config));
}

std::filesystem::path RunFolder::evaluation(int64_t step) const {
  return path_ / ("evaluation-" + std::to_string(step) + ".jsonl");
}

}  // namespace lowmem::train
