#pragma once

#include <filesystem>

#include "lowmem/core/dtype.h"

namespace lowmem::cli {

// The type that a model folder's numbers have: what is made of it is written in that. Of
// float16 it is fp32, which a line says.
DType type_of_files(const std::filesystem::path& model);

}  // namespace lowmem::cli
