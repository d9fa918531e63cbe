#pragma once

#include <cstdint>
#include <filesystem>

#include "lowmem/core/dtype.h"
#include "lowmem/io/weights_writer.h"

namespace lowmem::model {

// weights::write_random() for the model that `config_file` describes, with its
// initializer_range.
void write_random_model(const std::filesystem::path& config_file,
                        const std::filesystem::path& folder, DType dtype, uint64_t seed,
                        int64_t max_shard_bytes = kMaxShardBytes);

}  // namespace lowmem::model
