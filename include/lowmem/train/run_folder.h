#pragma once

#include <filesystem>

#include "lowmem/config/run_config.h"

namespace lowmem::train {

// The folder of one run, dir/name, and the names of what lies in it.
class RunFolder {
 public:
  // Only looks, so that a run which may not begin is refused before anything is loaded.
  // Throws Error for a finished run of that name unless run.overwrite is set, for a
  // folder with files in it that no run made, and where an input of this run lies in it.
  explicit RunFolder(const RunConfig& config);

  // Makes the folder, removes what an earlier run of the same name left in it, and writes
  // config.yaml.
  void prepare(const RunConfig& config) const;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path metrics() const { return path_ / "metrics.jsonl"; }
  std::filesystem::path results() const { return path_ / "results.json"; }
  std::filesystem::path model() const { return path_ / "model"; }
  std::filesystem::path evaluation(int64_t step) const;

 private:
  std::filesystem::path path_;
};

}  // namespace lowmem::train
