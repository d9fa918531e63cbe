#pragma once

#include <string>
#include <vector>

#include "lowmem/train/checkpoint.h"

// manifest.json of a checkpoint: {"format", "program", "state", "updates", "files",
// "checksum"}, the last being that of the others' text.
namespace lowmem::train {

struct ManifestFile {
  std::string name;
  int64_t bytes = 0;
  uint64_t checksum = 0;
};

void write_manifest(const std::filesystem::path& folder, const RunState& state,
                    const nlohmann::json& updates,
                    const std::vector<ManifestFile>& files);

// Reads it and every byte of the files it lists. Throws Error naming what is damaged.
Checkpoint read_manifest(const std::filesystem::path& folder);

}  // namespace lowmem::train
