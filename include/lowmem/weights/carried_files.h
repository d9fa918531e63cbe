#pragma once

#include <cstdint>
#include <filesystem>

#include "lowmem/core/dtype.h"

namespace lowmem::weights {

// A config.json has 1 KB, and 30 KB where it lists a thousand labels. The time to copy
// one grows with the square of its keys.
inline constexpr int64_t kLargestConfig = 64 * 1024;  // bytes

// Makes `folder` and gives it config.json, with its dtype set to that of the weights, and
// what lies beside `config_file`: the files of the tokenizer and of generation, chat
// templates, and licenses.
void create_model_folder(const std::filesystem::path& config_file,
                         const std::filesystem::path& folder, DType dtype);

}  // namespace lowmem::weights
