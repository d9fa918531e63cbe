#include "lowmem/io/weights_writer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "io/safetensors_header.h"
#include "io/system_error.h"
#include "lowmem/io/weights_folder.h"

namespace lowmem {
namespace {

namespace fs = std::filesystem;

std::vector<std::vector<TensorSpec>> plan_shards(const std::vector<TensorSpec>& tensors,
                                                 int64_t max_bytes) {
  std::vector<std::vector<TensorSpec>> shards(1);
  int64_t bytes = 0;
  for (const TensorSpec& tensor : tensors) {
    if (!shards.back().empty() && tensor.bytes() > max_bytes - bytes) {
      shards.emplace_back();
      bytes = 0;
    }
    shards.back().push_back(tensor);
    bytes += tensor.bytes();
  }
  return shards;
}

std::string make_index(const std::vector<std::vector<TensorSpec>>& shards,
                       const std::vector<std::string>& names) {
  nlohmann::json map = nlohmann::json::object();
  int64_t bytes = 0;
  for (size_t i = 0; i < shards.size(); ++i)
    for (const TensorSpec& tensor : shards[i]) {
      map[tensor.name] = names[i];
      bytes += tensor.bytes();
    }
  return nlohmann::json{{"metadata", {{"total_size", bytes}}}, {"weight_map", map}}.dump(
             2) +
         "\n";
}

std::string five_digits(size_t number) {
  const std::string digits = std::to_string(number);
  return std::string(5 - std::min<size_t>(5, digits.size()), '0') + digits;
}

// "model-00002-of-00003.safetensors", any digits.
bool is_shard_name(std::string_view name) {
  constexpr std::string_view kPattern = "model-#####-of-#####.safetensors";
  return std::ranges::equal(name, kPattern, [](char c, char pattern) {
    return pattern == '#' ? c >= '0' && c <= '9' : c == pattern;
  });
}

void remove_file(const fs::path& path) {
  std::error_code code;
  fs::remove(path, code);
  if (code) throw system_error(path, "cannot be removed", code.value());
}

}  // namespace

WeightsWriter::WeightsWriter(fs::path folder, const std::vector<TensorSpec>& tensors,
                             int64_t max_shard_bytes)
    : folder_(std::move(folder)) {
  const auto shards = plan_shards(tensors, max_shard_bytes);
  for (size_t i = 0; i < shards.size(); ++i)
    file_names_.push_back(shards.size() == 1
                              ? kSingleWeightsFile
                              : "model-" + five_digits(i + 1) + "-of-" +
                                    five_digits(shards.size()) + ".safetensors");
  for (size_t i = 0; i < shards.size(); ++i)
    files_.emplace_back(folder_ / file_names_[i], shards[i]);
  if (shards.size() > 1) {
    index_ = make_index(shards, file_names_);
    file_names_.push_back(kWeightsIndexFile);
  }
}

void WeightsWriter::write(std::string_view name, std::span<const std::byte> slice) {
  if (slice.empty()) return;
  while (current_ + 1 < files_.size() && files_[current_].is_complete()) ++current_;
  SafetensorsWriter& file = files_[current_];
  file.write(name, slice);
  if (file.is_complete()) file.sync();  // so that finish() has little left that can fail
}

void WeightsWriter::finish() {
  for (const SafetensorsWriter& file : files_)
    if (!file.is_complete())
      throw std::logic_error("WeightsWriter: a tensor lacks bytes");
  if (!index_.empty()) {
    remove_file(folder_ / kWeightsIndexFile);
    remove_file(folder_ / kSingleWeightsFile);
  }
  for (SafetensorsWriter& file : files_) file.finish();
  if (!index_.empty()) write_file_atomically(folder_ / kWeightsIndexFile, index_);
  remove_superseded();
}

void WeightsWriter::remove_superseded() const {
  std::vector<fs::path> superseded;
  for (const auto& entry : fs::directory_iterator(folder_)) {
    const std::string name = entry.path().filename().string();
    if ((name == kWeightsIndexFile || is_shard_name(name)) &&
        std::ranges::find(file_names_, name) == file_names_.end())
      superseded.push_back(entry.path());
  }
  for (const fs::path& path : superseded) remove_file(path);
}

}  // namespace lowmem
