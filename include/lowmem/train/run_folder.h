#pragma once

#include <filesystem>

#include "lowmem/config/run_config.h"

namespace lowmem::train {

// The folder of one run, dir/name, and the names of what lies in it.
class RunFolder {
 public:
  // Makes the folder and writes config.yaml. What an unfinished run of the same name left
  // is replaced; a finished one is refused with Error unless run.overwrite is set.
  explicit RunFolder(const RunConfig& config);

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path metrics() const { return path_ / "metrics.jsonl"; }
  std::filesystem::path results() const { return path_ / "results.json"; }
  std::filesystem::path model() const { return path_ / "model"; }
  std::filesystem::path evaluation(int64_t step) const;

 private:
  std::filesystem::path path_;
};

}  // namespace lowmem::train
