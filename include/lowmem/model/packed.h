#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "lowmem/model/llama_config.h"

namespace lowmem::model {

// Sequences laid end to end, never padded. N tokens in all, B sequences.
struct Packed {
  at::Tensor ids;                // [N] int64, on the model's device
  std::vector<int64_t> offsets;  // [B + 1], on the host: sequence b is [b], [b + 1]
  at::Tensor cos, sin;           // [N, head_dim / 2] fp32: rotary angles of each token

  int64_t tokens() const { return offsets.back(); }
};

// Angles of rotary position embeddings for any model length. Holds head_dim / 2 numbers.
class RotaryAngles {
 public:
  explicit RotaryAngles(const LlamaConfig& config);

  // Inverse frequencies after the model's scaling, [head_dim / 2] float.
  const std::vector<float>& inverse_frequencies() const { return inverse_; }

  // Packs sequences for `device`; each starts at position 0.
  Packed pack(std::span<const std::span<const int32_t>> sequences,
              c10::Device device) const;

 private:
  std::vector<float> inverse_;
};

}  // namespace lowmem::model
