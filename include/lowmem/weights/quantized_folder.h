#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "lowmem/io/weights_folder.h"
#include "lowmem/io/weights_writer.h"
#include "lowmem/weights/home.h"
#include "lowmem/weights/stored_form.h"

// Model folders whose matrices lie in codes, as transformers saves them with
// bitsandbytes. For a linear layer X [out, in] in 4 bits:
//
//   X.weight                                uint8 [(count + 1) / 2, 1]  codes
//   X.weight.absmax                         fp32 [blocks], or uint8 where they are nested
//   X.weight.quant_map                      fp32 [16]                   the levels
//   X.weight.nested_absmax                  fp32 [blocks / 256]
//   X.weight.nested_quant_map               fp32 [256]
//   X.weight.quant_state.bitsandbytes__nf4  uint8, JSON: sizes, types and nested_offset
//
// and in 8 bits X.weight int8 [out, in], X.SCB fp32 [out] and X.weight_format uint8 [].
// What the folder holds is in config.json's quantization_config. Embeddings, head and
// norms are numbers there.
namespace lowmem::weights {

// The names of a folder's tensors of a matrix in codes; `codes` is the spec of its first
// part. Throws Error for one that is missing, or of another type or shape.
std::vector<std::string> check_codes(const WeightsFolder& files, const Spec& codes,
                                     const std::filesystem::path& folder);

// Fills the parts of a matrix from such a folder. Throws Error where its levels or sizes
// are not those of this program, or its scales are not finite.
void load_codes(const WeightsFolder& files, Home& home, Weight& codes,
                const std::filesystem::path& folder);

// Writes the home's model as such a folder: what lies in codes as codes, the rest in the
// format that it has, with the files of `source` carried over. Streams group by group.
void save_codes(Home& home, const std::filesystem::path& source,
                const std::filesystem::path& folder,
                int64_t max_shard_bytes = kMaxShardBytes);

}  // namespace lowmem::weights
