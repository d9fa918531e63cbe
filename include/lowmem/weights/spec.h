#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace lowmem::weights {

// What a weight is, for random initialisation.
enum class Kind { kMatrix, kBias, kNorm };

// A weight as files name and shape it.
struct Spec {
  std::string name;  // Hugging Face's: "model.layers.0.self_attn.q_proj.weight"
  std::vector<int64_t> shape;
  Kind kind = Kind::kMatrix;
  // Weights that are used together, in the order in which a forward pass meets them: 0
  // the embedding, i + 1 block i, the last what is above the blocks.
  size_t group = 0;
  std::string alias = {};  // another name that a file may have it under; empty: none

  int64_t elements() const;
};

}  // namespace lowmem::weights
