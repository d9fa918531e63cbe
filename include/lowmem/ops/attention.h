#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "lowmem/config/choices.h"
#include "lowmem/ops/linear_weight.h"

namespace lowmem::ops {

// One sequence's part of queries and of keys.
struct Span {
  int64_t queries = 0;
  int64_t keys = 0;
  // [queries, keys] bool, true where a query sees a key; undefined: the queries belong to
  // the last of the keys, and each sees its own key and those before it.
  at::Tensor mask;
};

struct PaddedSpans;

// Sequences laid end to end, and where each begins.
struct Spans : std::vector<Span> {
  using std::vector<Span>::vector;

  // Fills in what kernels of a device read. Once, after the last span.
  void place_on(c10::Device device);

  at::Tensor query_offsets, key_offsets;  // [size + 1] int32 on a device, else undefined
  int64_t most_queries = 0, most_keys = 0;  // of one sequence
  bool masked = false;                      // whether any has a mask

  // What cuDNN's attention has worked out of them.
  mutable std::shared_ptr<const PaddedSpans> padded;
};

// What kernels are chosen by, beside the mode.
struct AttentionShape {
  c10::Device device;
  at::ScalarType type;
  int64_t head_dim;
};

// Throws Error where the mode, memory.attention, has no kernel for this.
void check_attention(AttentionMode mode, const AttentionShape& shape);

// Whether attention reads each sequence's length from the device, so that its launches
// are the same for all batches of as many tokens and sequences: flash attention.
bool attention_replays(AttentionMode mode, const AttentionShape& shape);

// Attention over sequences laid end to end; a token sees its own sequence only.
//
//   q [queries, heads, head_dim]   k, v [keys, kv_heads, head_dim]
//   ->  [queries, heads, head_dim]
//
// Heads share keys in groups of heads / kv_heads (Ainslie et al. 2023, "GQA"). Scaled by
// 1 / sqrt(head_dim).
//
// `mode` is memory.attention. On the CPU: our kernel up to 512 keys, LibTorch's beyond,
// or the plain formula. On a GPU: flash attention over all sequences at once (bf16, no
// masks), cuDNN's over sequences of about one length, LibTorch's memory-efficient kernel
// a sequence where `auto` cannot take flash, and the formula only where it is asked for.
// Throws Error where the chosen one cannot do it.
//
// The plain form, for tests and comparison: the model uses attention_linear.
at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const Spans& spans, AttentionMode mode = AttentionMode::kAuto);

// linear(attention(q, k, v), weight) -> [queries, out], in q's type. Our kernel's
// outputs are made again for the backward pass instead of kept; others keep theirs. What
// the model uses.
at::Tensor attention_linear(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const Spans& spans, const LinearWeight& weight,
                            AttentionMode mode = AttentionMode::kAuto);

}  // namespace lowmem::ops
