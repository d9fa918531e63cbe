#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "lowmem/io/weights_writer.h"
#include "lowmem/weights/adapter.h"
#include "lowmem/weights/home.h"

namespace lowmem::weights {

// The tensors of a folder's files in their order: a joined one stands where its first
// rows do, and its specs follow one another.
std::vector<TensorSpec> file_tensors(const std::vector<Spec>& specs, DType format);

// Compares the names and shapes of a Hugging Face folder's weights with `specs`, those of
// a table, before room is made for any. Throws what load() would.
void check_folder(const std::vector<Spec>& specs, const std::filesystem::path& folder);

// What load() has seen.
struct Loaded {
  std::vector<const Weight*> zeros;  // weights that hold zeros alone
};

// Matrices that are to lie in codes are quantized from numbers, or read as they are from
// a folder that has these codes (weights/quantized_folder.h).
//
// Fills the home's weights, or those that are `wanted`, from the safetensors of a Hugging
// Face folder, single or sharded, in F32, F16, BF16 or F64, converting straight into the
// final tensors, group by group: the extra memory is 1 MiB, and on a GPU a piece of a
// tensor on the host (ops/pieces). Throws Error naming the tensor for one that is
// missing, of another shape, or not floating-point, and for one the table has no place
// for.
Loaded load(Home& home, const std::filesystem::path& folder,
            const std::function<bool(const Weight&)>& wanted = {});

// A weight's numbers as such a folder has them, through `format` and in fp32, on the CPU:
// of what the home holds in codes. Takes two copies of the matrix.
at::Tensor numbers_in(const std::filesystem::path& folder, const Spec& spec,
                      DType format);

struct SaveOptions {
  int64_t max_shard_bytes = kMaxShardBytes;
  std::vector<AdapterLayer> merged = {};  // into the layers' matrices
};

// Writes a Hugging Face folder: the home's weights in the format they have, without an
// adapter's, and what lies in codes as the numbers that it stands for; sharded, with the
// config and tokenizer files of `source` carried over (config.json's dtype is set to the
// written one). Streams group by group. `folder` must not lie inside `source`.
void save(Home& home, const std::filesystem::path& source,
          const std::filesystem::path& folder, const SaveOptions& options = {});

// Writes a Hugging Face folder of random weights in `dtype`, of any size in little
// memory: matrices normal with that deviation, norms 1, biases 0. The weights are a
// function of `seed` alone. `config_file` is copied to config.json, and tokenizer files
// that lie beside it come along.
void write_random(const std::vector<Spec>& specs, double deviation,
                  const std::filesystem::path& config_file,
                  const std::filesystem::path& folder, DType dtype, uint64_t seed,
                  int64_t max_shard_bytes = kMaxShardBytes);

// Of the numbers of all weights that are not trained: equal for equal ones in one format.
// Empty where all are trained. Reads them at 10 GB/s.
std::string frozen_fingerprint(Home& home);
// The same of all that lies in codes. Empty where nothing does.
std::string codes_fingerprint(Home& home);

}  // namespace lowmem::weights
