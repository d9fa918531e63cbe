#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lowmem/core/dtype.h"

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
  bool adapter = false;    // beside the model (weights/adapter.h): of no model folder
  std::optional<DType> type = {};  // its own; else the model's

  // Where it is of a quantized matrix (weights/quantized.h): in which form that is, which
  // of its parts this is, and the shape of the matrix.
  Stored stored = Stored::kPlain;
  size_t part = 0;
  std::vector<int64_t> matrix = {};

  // Where files have it as rows of a larger tensor, together with the specs before or
  // after it that name the same one: its name, and how its rows lie there. Empty: files
  // have it under its own name.
  std::string joined = {};
  int64_t joined_first = 0, joined_rows = 0;

  int64_t elements() const;
  const std::string& file_name() const { return joined.empty() ? name : joined; }
  std::vector<int64_t> file_shape() const;
};

}  // namespace lowmem::weights
