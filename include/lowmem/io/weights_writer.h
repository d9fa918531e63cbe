#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lowmem/io/safetensors_writer.h"

namespace lowmem {

// Hugging Face's "5GB".
constexpr int64_t kMaxShardBytes = 5'000'000'000;

// Writes the weights of a model folder without holding a tensor: `model.safetensors`, or,
// where the tensors' bytes exceed `max_shard_bytes`, `model-00001-of-0000N.safetensors`
// and so on with `model.safetensors.index.json`. Tensors keep their order and are not
// split; a shard holds as many as fit, and one that is larger than the limit has a shard
// to itself.
//
// The folder must exist. Room for all shards is set aside at once, and all are written
// beside; nothing in the folder changes before finish(). That replaces a single file in
// one step; for shards it first removes the older index or single file, so that old and
// new shards are never read as one model. Older weight files that the new ones supersede
// are removed last.
class WeightsWriter {
 public:
  WeightsWriter(std::filesystem::path folder, const std::vector<TensorSpec>& tensors,
                int64_t max_shard_bytes = kMaxShardBytes);

  // As SafetensorsWriter::write(), over all tensors.
  void write(std::string_view name, std::span<const std::byte> slice);
  void finish();

  // The names of the files that finish() puts in place, the index last.
  const std::vector<std::string>& file_names() const { return file_names_; }

 private:
  void remove_superseded() const;

  std::filesystem::path folder_;
  std::vector<std::string> file_names_;
  std::string index_;                    // its text; empty for a single file
  std::deque<SafetensorsWriter> files_;  // one a shard
  size_t current_ = 0;                   // the shard being written
};

}  // namespace lowmem
