#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace lowmem::ops {

// Causal attention over sequences laid end to end; a token sees its own sequence only.
//
//   q [N, heads, head_dim]   k, v [N, kv_heads, head_dim]   ->   [N, heads, head_dim]
//   offsets: where each sequence starts, and N last; [B + 1], on the host
//
// Heads share keys in groups of heads / kv_heads (Ainslie et al. 2023, "GQA"). Scaled by
// 1 / sqrt(head_dim). Runs of sequences of one length go through one call.
at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const std::vector<int64_t>& offsets);

}  // namespace lowmem::ops
