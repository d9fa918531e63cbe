#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

namespace lowmem::ops {

// Tokens that looked up rows of an embedding table, and the gradient by what they got.
struct EmbeddedTokens {
  std::span<const int64_t> ids;  // N of them, each in [0, V)
  at::Tensor gradient;           // [N or more, D]; rows beyond N are padding's
};

// table[id] += the sum of its tokens' gradients, for all of `parts`; table [V, D]. Rows
// are summed in fp32 and rounded once: in bf16 a frequent token's sum would stand still.
// Ids are the host's, so that nothing waits for a device. Extra memory: a fp32 row an id
// on the CPU; all gradients once more where there are several parts on a device.
void add_embedding_gradient(at::Tensor& table, std::vector<EmbeddedTokens> parts);

}  // namespace lowmem::ops
