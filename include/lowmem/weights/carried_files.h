#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "lowmem/core/dtype.h"

namespace lowmem::weights {

// A config.json has 1 KB, and 30 KB where it lists a thousand labels. The time to copy
// one grows with the square of its keys.
inline constexpr int64_t kLargestConfig = 64 * 1024;  // bytes

// The file `name` of a model folder, with every link followed, where it is the folder's
// own: it lies below the folder or, where that is a snapshot in the cache of
// huggingface_hub, among the blobs beside. A folder from elsewhere may link to what
// nobody meant to pass on, such as a key: a link to any other place gives nullopt and a
// warning. So does, without one, a name that is not there. Throws Error for a link that
// leads nowhere.
//
// This is for files that are copied as they are. Weights are read through any link.
std::optional<std::filesystem::path> own_file(const std::filesystem::path& folder,
                                              const std::filesystem::path& name);

struct CarriedFile {
  std::string name;  // below the folder
  std::filesystem::path from;
};

// The files of a model folder that its result gets as they are: those of the tokenizer
// and of generation, chat templates, and licenses. Warns and throws as own_file() does.
std::vector<CarriedFile> carried_files(const std::filesystem::path& folder);

// Copies them into a folder that is there, over what it has of these names.
void carry_files(const std::filesystem::path& from, const std::filesystem::path& into);

// Before a run, so that nothing shows at its end: reads each of them. Throws Error naming
// one that cannot be read.
void check_carried_files(const std::filesystem::path& folder);

// Makes `folder` and gives it config.json, with its dtype set to that of the weights, and
// what lies beside `config_file`: the files of the tokenizer and of generation, chat
// templates, and licenses. `quantization`: JSON, what config.json says of weights that
// lie in codes; else it says nothing of that any more.
void create_model_folder(const std::filesystem::path& config_file,
                         const std::filesystem::path& folder, DType dtype,
                         const std::string& quantization = "");

}  // namespace lowmem::weights
