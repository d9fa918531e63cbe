#pragma once

#include <cstdint>
#include <filesystem>

#include "lowmem/core/dtype.h"
#include "lowmem/io/weights_writer.h"
#include "lowmem/model/llama.h"

namespace lowmem::model {

// Compares the names and shapes of a folder's weights with those of the model that
// `config` describes, before room is made for any. Throws what load_weights() would.
void check_weights(const LlamaConfig& config, const std::filesystem::path& folder);

// Fills `model` from the safetensors of a Hugging Face folder, single or sharded, in F32,
// F16, BF16 or F64, converting straight into the final tensors: on the CPU the extra
// memory is 1 MiB, on a GPU one tensor on the host. Throws Error naming the tensor for
// one that is missing, of another shape, or not floating-point, and for one the model has
// no place for.
void load_weights(Llama& model, const std::filesystem::path& folder);

// Writes `model` as a Hugging Face folder: its weights in the type they have, a tied head
// once, sharded above `max_shard_bytes`, with the config and tokenizer files of `source`
// carried over (config.json's dtype is set to the written one). Streams tensor by tensor.
// `folder` must not lie inside `source`.
void save_model(const Llama& model, const std::filesystem::path& source,
                const std::filesystem::path& folder,
                int64_t max_shard_bytes = kMaxShardBytes);

// Writes a Hugging Face folder of random weights in `dtype`, of any size in little
// memory: matrices normal with the config's initializer_range, norms 1, biases 0. The
// weights are a function of `seed` alone. `config_file` is copied to config.json, and
// tokenizer files that lie beside it come along.
void write_random_model(const std::filesystem::path& config_file,
                        const std::filesystem::path& folder, DType dtype, uint64_t seed,
                        int64_t max_shard_bytes = kMaxShardBytes);

}  // namespace lowmem::model
