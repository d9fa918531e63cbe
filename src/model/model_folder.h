#pragma once

#include <filesystem>

#include "lowmem/core/dtype.h"

namespace lowmem::model {

// Makes `folder` and gives it config.json, with its dtype set to that of the weights, and
// the tokenizer and generation files that lie beside `config_file`.
void create_model_folder(const std::filesystem::path& config_file,
                         const std::filesystem::path& folder, DType dtype);

}  // namespace lowmem::model
