#include "lowmem/io/weights_folder.h"

#include <map>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "io/safetensors_header.h"
#include "lowmem/core/error.h"
#include "lowmem/core/files.h"
#include "lowmem/core/log.h"

namespace lowmem {
namespace {

namespace fs = std::filesystem;

using Shards = std::map<std::string, std::unordered_set<std::string>>;  // names by file

bool is_plain_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos;
}

Shards read_index(const fs::path& path) {
  const std::string remedy = "Repair the index, or fetch it again";
  const nlohmann::json index = read_json(path);
  const auto map = index.is_object() ? index.find("weight_map") : index.end();
  if (map == index.end() || !map->is_object() || map->empty())
    throw Error(path.string(), "has no \"weight_map\" from tensors to files", remedy);
  Shards shards;
  for (const auto& [tensor, file] : map->items()) {
    const std::string thing = path.string() + " tensor " + in_quotes(tensor);
    if (!file.is_string()) throw Error(thing, "is not given the name of a file", remedy);
    const auto& name = file.get_ref<const std::string&>();
    if (!is_plain_name(name))
      throw Error(thing,
                  "is placed in " + in_quotes(name) + ", not a file of this folder",
                  remedy);
    shards[name].insert(tensor);
  }
  return shards;
}

[[noreturn]] void fail_without_weights(const fs::path& folder) {
  std::error_code code;
  if (!fs::is_directory(folder, code))
    throw Error(folder.string(), "is not a folder",
                "Give the folder of a model, with config.json and model.safetensors");
  for (const char* name : {"pytorch_model.bin", "pytorch_model.bin.index.json",
                           "consolidated.00.pth", "consolidated.pth"})
    if (fs::exists(folder / name, code))
      throw Error(folder.string(),
                  "holds its weights in " + std::string(name) +
                      ", which can run code when it is loaded and is not read",
                  "Fetch the safetensors version of the model, or convert it with "
                  "transformers: save_pretrained()");
  throw Error(
      folder.string(),
      "has neither " + std::string(kSingleWeightsFile) + " nor " + kWeightsIndexFile,
      "Give the folder of a model in the Hugging Face layout");
}

}  // namespace

WeightsFolder::WeightsFolder(const fs::path& folder) {
  if (is_there(folder / kSingleWeightsFile)) {
    if (is_there(folder / kWeightsIndexFile))
      log::warn(folder.string() + " holds " + kSingleWeightsFile + " and " +
                kWeightsIndexFile + ": the first is read, the other left out");
    files_.emplace_back(folder / kSingleWeightsFile);
    for (const TensorInfo& tensor : files_[0].tensors())
      tensors_.push_back({&files_[0], &tensor});
  } else if (is_there(folder / kWeightsIndexFile)) {
    open_shards(folder);
  } else {
    fail_without_weights(folder);
  }
  by_name_.reserve(tensors_.size());
  for (const Location& at : tensors_) by_name_.emplace(at.tensor->name, at);
}

void WeightsFolder::open_shards(const fs::path& folder) {
  const fs::path index = folder / kWeightsIndexFile;
  const Shards shards = read_index(index);
  for (const auto& [name, tensors] : shards)
    if (!is_there(folder / name))
      throw Error(index.string(),
                  "names " + in_quotes(name) + ", which is not in the folder",
                  "Fetch the missing file; a download may have stopped");

  files_.reserve(shards.size());
  for (const auto& [name, tensors] : shards) {
    const SafetensorsFile& file = files_.emplace_back(folder / name);
    for (const std::string& tensor : tensors)
      if (file.find(tensor) == nullptr)
        throw Error(index.string() + " tensor " + in_quotes(tensor),
                    "is placed in " + in_quotes(name) + ", which has no such tensor",
                    "The index and that file do not belong together: fetch both again");
    for (const TensorInfo& tensor : file.tensors()) {
      if (tensors.contains(tensor.name))
        tensors_.push_back({&file, &tensor});
      else
        unlisted_.push_back(tensor.name);
    }
  }
}

WeightsFolder::Location WeightsFolder::find(std::string_view name) const {
  const auto at = by_name_.find(name);
  return at == by_name_.end() ? Location{} : at->second;
}

}  // namespace lowmem
