#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "lowmem/core/dtype.h"

// What config.json says of weights that lie in codes (weights/quantized_folder.h).
namespace lowmem::weights {

// The form of a model folder's matrices; kPlain: they are numbers. Throws Error for a
// form that is not implemented, which is any but bitsandbytes' NF4 and int8.
Stored stored_in(const std::filesystem::path& folder);
Stored stored_by(const nlohmann::json& config, const std::filesystem::path& file);

// "model.quantize = nf4 with model.double_quantization = true": the settings of a form.
std::string settings_of(Stored form);

}  // namespace lowmem::weights
