#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "lowmem/io/safetensors.h"

namespace lowmem {

inline constexpr const char* kSingleWeightsFile = "model.safetensors";
inline constexpr const char* kWeightsIndexFile = "model.safetensors.index.json";

// The weights of a Hugging Face model folder, open for reading: `model.safetensors`, or
// the shards that `model.safetensors.index.json` lists. Where both are there the single
// file counts, as in transformers.
//
// Opening checks every shard's header, that the index names only files of this folder,
// and that each tensor is in the shard that the index names for it. No weights are read.
//
// Symbolic links are followed wherever they lead: the Hub's cache is made of links to
// ../../blobs, and others link weights from another disk. An index, which comes from
// outside, leads nowhere; a link is the doing of whoever put the folder on this machine.
class WeightsFolder {
 public:
  struct Location {
    const SafetensorsFile* file = nullptr;
    const TensorInfo* tensor = nullptr;
    explicit operator bool() const { return tensor != nullptr; }
  };

  explicit WeightsFolder(const std::filesystem::path& folder);

  // Null pointers if there is none of that name. They live as long as the folder object,
  // through moves too.
  Location find(std::string_view name) const;
  // File by file, each in the order of its data: the fastest order to read in.
  const std::vector<Location>& tensors() const { return tensors_; }
  // Names of tensors that lie in a shard but that the index does not place there. They
  // are not in tensors() nor found by find(); the caller should report them.
  const std::vector<std::string>& unlisted() const { return unlisted_; }

 private:
  void open_shards(const std::filesystem::path& folder);

  std::vector<SafetensorsFile> files_;
  std::vector<Location> tensors_;
  std::vector<std::string> unlisted_;
  std::unordered_map<std::string_view, Location> by_name_;
};

}  // namespace lowmem
