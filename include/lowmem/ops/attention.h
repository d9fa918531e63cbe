#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace lowmem::ops {

// One sequence's part of queries and of keys.
struct Span {
  int64_t queries = 0;
  int64_t keys = 0;
  // [queries, keys] bool, true where a query sees a key; undefined: as many queries as
  // keys, each of which sees its own key and those before it.
  at::Tensor mask;
};
using Spans = std::vector<Span>;

// Attention over sequences laid end to end; a token sees its own sequence only.
//
//   q [queries, heads, head_dim]   k, v [keys, kv_heads, head_dim]
//   ->  [queries, heads, head_dim]
//
// Heads share keys in groups of heads / kv_heads (Ainslie et al. 2023, "GQA"). Scaled by
// 1 / sqrt(head_dim). Runs of sequences of one length, without masks, go through one
// call.
//
// The plain form, for tests and comparison: the model uses attention_linear.
at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const Spans& spans);

// linear(attention(q, k, v), weight, bias) -> [queries, out], in q's type. The heads'
// outputs are made again for the backward pass instead of kept. What the model uses.
at::Tensor attention_linear(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const Spans& spans, const at::Tensor& weight,
                            const at::Tensor& bias);

}  // namespace lowmem::ops
