#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "lowmem/config/run_config.h"

namespace lowmem::train {

// Bytes that a run's folder takes at the most, in its large files.
struct DiskNeed {
  int64_t model = 0;        // model/
  int64_t best = 0;         // best/, with train.keep_best
  int64_t checkpoint = 0;   // one of them
  int64_t checkpoints = 0;  // that are there at once, while one is written
  int64_t working = 0;      // of weights that live on the disk; gone when the run ends
  int64_t elsewhere = 0;    // the same, where memory.scratch is on another disk
  int64_t there = 0;        // of earlier ones that make room, or stay as they are

  // What is to be found free.
  int64_t more() const;
};

// What a run writes of its tensors, in bytes.
struct Written {
  int64_t weights = 0;      // all, as numbers
  int64_t stored = 0;       // the same as they lie in memory, some in codes
  int64_t trained = 0;      // of these
  int64_t beside = 0;       // the optimizer's
  int64_t working = 0;      // the files of what lives on the disk
  int64_t saves = 0;        // checkpoints that train.save_every asks for
  int64_t evaluations = 0;  // that may be the best
};

DiskNeed disk_need(const RunConfig& config, const Written& written);

// The folder of the working files of what lives on the disk: memory.scratch, else the one
// of all runs, or where that is to be made.
std::filesystem::path scratch_folder(const RunConfig& config);

// Some folders that are taken for a disk's are memory.
void warn_of_memory(const std::filesystem::path& folder);

// What whoever runs this may still write into the folder, or where it is to be made: -1
// where the file system does not say.
int64_t free_disk(const std::filesystem::path& folder);

// Throws Error where `need` exceeds what is free on the disk of the run's folder.
void refuse_full_disk(const RunConfig& config, const DiskNeed& need);

}  // namespace lowmem::train
