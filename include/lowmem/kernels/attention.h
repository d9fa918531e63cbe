#pragma once

#include <cstdint>

#include "lowmem/kernels/elements.h"

namespace lowmem::kernels {

// Attention of one sequence, softmax(q k^T scale) v for each head, with a sequence's
// whole scores in memory: for short sequences, where cutting them up costs more than it
// saves. Heads share keys in groups of heads / kv_heads. fp32 inside. All arrays have one
// type.
struct AttentionArgs {
  ConstArray q;     // [queries, heads, head_dim]
  ConstArray k, v;  // [keys, kv_heads, head_dim]
  int64_t queries = 0, keys = 0, heads = 0, kv_heads = 0, head_dim = 0;
  float scale = 1;
  // [queries, keys], true where a query sees a key; null: the queries belong to the last
  // of the keys, and each sees its own key and those before it.
  const bool* mask = nullptr;
  // Where there is no mask: how many keys a query sees, its own the last of them; 0: all.
  // What lies before is not computed.
  int64_t window = 0;
};

// fp32 numbers of workspace that a call needs: 2 queries * keys and some rows.
int64_t attention_workspace(const AttentionArgs& args);

// out [queries, heads, head_dim], of the heads that belong to key heads [begin, end).
// A query that sees nothing gets 0.
void attention(const AttentionArgs& args, Array out, float* workspace, int64_t begin,
               int64_t end);

// The gradients by q, k and v, for the same heads, from that by the output. The scores
// are made again: nothing of the forward pass is needed but its inputs.
void attention_backward(const AttentionArgs& args, ConstArray out_gradient, Array dq,
                        Array dk, Array dv, float* workspace, int64_t begin, int64_t end);

}  // namespace lowmem::kernels
