#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "lowmem/config/run_config.h"
#include "lowmem/io/file_lock.h"

namespace lowmem::train {

// In a run's folder, what its adapter took from the model (weights/adapter_start.h).
inline constexpr const char* kTakenFile = "taken_from_base.safetensors";
// And the model with the codes that it trains beside, where its beginning made them anew.
inline constexpr const char* kBaseFolder = "base";

// The folder of one run, dir/name, and the names of what lies in it.
class RunFolder {
 public:
  // Changes nothing, so that a run which may not begin is refused before anything is
  // loaded; only a removal that a kill interrupted is brought to its end. Locks the
  // folder, where it is there, for as long as this object lives. Throws Error where
  // another process is at it, where it cannot be written to, for a folder with files in
  // it that no run made, and where an input of this run lies in it. Unless the run goes
  // on (`resume`), or run.overwrite is set, also for a finished run of that name, or one
  // with checkpoints.
  RunFolder(const RunConfig& config, bool resume);

  // Makes the folder, removes what an earlier run of the same name left in it (`resume`:
  // only what was half written), and writes config.yaml.
  void prepare(const RunConfig& config, bool resume);

  // The number of steps of a finished run; nullopt where it has not finished.
  std::optional<int64_t> finished_steps() const;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path config() const { return path_ / "config.yaml"; }
  std::filesystem::path metrics() const { return path_ / "metrics.jsonl"; }
  std::filesystem::path results() const { return path_ / "results.json"; }
  std::filesystem::path model() const { return path_ / "model"; }
  std::filesystem::path adapter() const { return path_ / "adapter"; }
  std::filesystem::path best() const { return path_ / "best"; }
  std::filesystem::path checkpoints() const { return path_ / "checkpoints"; }
  std::filesystem::path evaluation(int64_t step) const;

 private:
  std::filesystem::path lock() const { return path_ / ".lock"; }
  void refuse_what_is_there(const RunConfig& config, bool resume) const;
  void take_lock();

  std::filesystem::path path_;
  std::optional<FileLock> lock_;
};

}  // namespace lowmem::train
