#include "lowmem/train/run_folder.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <system_error>
#include <vector>

#include "io/system_error.h"
#include "lowmem/config/yaml.h"
#include "lowmem/core/error.h"
#include "lowmem/core/files.h"
#include "lowmem/io/atomic_file.h"
#include "lowmem/io/sync.h"
#include "lowmem/train/checkpoint.h"

namespace lowmem::train {
namespace {

// Its presence says that what else is there is on its way out.
constexpr const char* kReplacing = ".replacing";

// Everything a run writes; nothing else in the folder is touched. Killed in between, the
// next run goes on with it, and nothing old is mistaken for the new run's.
void remove_old_run(const std::filesystem::path& folder) {
  write_file_atomically(folder / kReplacing, "");
  for (const char* name : {"results.json", "metrics.jsonl", kTakenFile})
    std::filesystem::remove(folder / name);
  for (const char* name : {"model", "adapter", kBaseFolder, "best", "checkpoints"})
    std::filesystem::remove_all(folder / name);
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    const bool evaluation = name.starts_with("evaluation-") && name.ends_with(".jsonl");
    if (evaluation || name.starts_with("events.out.tfevents."))
      std::filesystem::remove(entry.path());
  }
  std::filesystem::remove(folder / kReplacing);
}

// Training from or on what a run of this name would replace would destroy it.
void refuse_inputs_inside(const std::filesystem::path& folder, const RunConfig& config) {
  std::vector<std::string> inputs = config.data.train;
  inputs.push_back(config.model.path);
  inputs.push_back(config.adapter.path);
  inputs.insert(inputs.end(), config.eval.data.begin(), config.eval.data.end());
  const auto root = std::filesystem::weakly_canonical(folder);
  for (const std::string& input : inputs) {
    if (input.empty()) continue;
    std::error_code code;  // of names that nothing can have: reading them says so
    const auto path = std::filesystem::weakly_canonical(input, code);
    if (code) continue;
    if (std::mismatch(root.begin(), root.end(), path.begin(), path.end()).first ==
        root.end())
      throw Error(input, "lies in " + folder.string() + ", which this run would replace",
                  "Choose another run.name or run.dir");
  }
}

// Before hours of work, not after: the folder, or the nearest that is there.
void refuse_unwritable(std::filesystem::path folder) {
  folder = std::filesystem::absolute(folder).lexically_normal();
  while (!std::filesystem::exists(folder) && folder.has_relative_path())
    folder = folder.parent_path();
  if (!std::filesystem::is_directory(folder))
    throw Error(folder.string(), "is a file, where a folder for the run is wanted",
                "Choose another run.name or run.dir");
  if (::access(folder.c_str(), W_OK | X_OK) != 0)
    throw system_error(folder, "cannot be written to", errno);
}

[[noreturn]] void fail(const std::filesystem::path& folder,
                       const std::filesystem::filesystem_error& error) {
  throw Error(folder.string(),
              "cannot be made ready for a run (" + error.code().message() + ")",
              "Check run.dir and its permissions");
}

}  // namespace

RunFolder::RunFolder(const RunConfig& config, bool resume)
    : path_(std::filesystem::path(config.run.dir) / config.run.name) {
  try {
    refuse_inputs_inside(path_, config);
    refuse_unwritable(path_);
    if (!std::filesystem::exists(path_)) return;
    if (!std::filesystem::is_empty(path_) && !std::filesystem::exists(lock()) &&
        !std::filesystem::exists(results()) && !std::filesystem::exists(checkpoints()))
      throw Error(path_.string(), "is not empty, and no run made it",
                  "Choose another run.name or run.dir; nothing was touched");
    take_lock();
    if (std::filesystem::exists(path_ / kReplacing)) remove_old_run(path_);
    refuse_what_is_there(config, resume);
  } catch (const std::filesystem::filesystem_error& error) {
    fail(path_, error);
  }
}

void RunFolder::refuse_what_is_there(const RunConfig& config, bool resume) const {
  const std::vector<int64_t> steps = Checkpoints(checkpoints(), 0).steps();
  const bool goes_on = resume && !steps.empty();
  if (!goes_on && !config.run.overwrite) {
    if (finished_steps() && !resume)
      throw Error(path_.string(), "holds a finished run",
                  "Choose another run.name, or set run.overwrite = true to replace it");
    if (!steps.empty())
      throw Error(path_.string(),
                  "holds an unfinished run with a checkpoint after step " +
                      std::to_string(steps.back()),
                  "Go on with --resume, or set run.overwrite = true to replace it");
    // Of a run that was stopped while it finished, or put there by somebody.
    for (const char* name : {"model", "adapter"})
      if (!resume && std::filesystem::exists(path_ / name))
        throw Error((path_ / name).string(), "is there already",
                    "Choose another run.name, or set run.overwrite = true to replace it");
  }
}

void RunFolder::take_lock() {
  lock_ = FileLock::take(lock());
  if (!lock_)
    throw Error(path_.string(), "is in use by another run that is under way",
                "Wait until it has ended, or choose another run.name");
}

void RunFolder::prepare(const RunConfig& config, bool resume) {
  try {
    if (!lock_) {
      make_folders(path_);
      take_lock();
      refuse_what_is_there(config, resume);
    }
    if (resume) {
      std::filesystem::remove(results());
      Checkpoints(checkpoints(), 0).clean();
    } else {
      remove_old_run(path_);
    }
  } catch (const std::filesystem::filesystem_error& error) {
    fail(path_, error);
  }
  write_file_atomically(this->config(), to_yaml(config));
}

std::optional<int64_t> RunFolder::finished_steps() const {
  std::error_code code;
  if (!std::filesystem::exists(results(), code)) return std::nullopt;
  const nlohmann::json results = read_json(this->results());
  const auto field = [&](const char* name) {
    return results.is_object() ? results.value(name, nlohmann::json()) : nlohmann::json();
  };
  if (field("status") != "finished" || !field("steps").is_number_integer())
    return std::nullopt;
  return field("steps").get<int64_t>();
}

std::filesystem::path RunFolder::evaluation(int64_t step) const {
  return path_ / ("evaluation-" + std::to_string(step) + ".jsonl");
}

}  // namespace lowmem::train
