#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <array>
#include <cstdint>
#include <memory>
#include <utility>
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

  // How many keys a query sees, its own the last of them; 0: all. Masks have it in them.
  int64_t window = 0;

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
  bool window = false;  // whether some layer has one
};

// How attention is computed. A mode alone is one, with the usual scale.
struct AttentionRule {
  AttentionRule(AttentionMode chosen = AttentionMode::kAuto,  // NOLINT: see above
                double scores_times = 0)
      : mode(chosen), scale(scores_times) {}

  double scale_of(const at::Tensor& q) const;

  AttentionMode mode;
  double scale;  // of the scores; 0: 1 / sqrt(head_dim)
};

// Queries or keys, [N, heads, head_dim], as attention takes them. Its backward pass needs
// them once more: where they came through a norm, they are made again from what went into
// it, which that norm keeps anyway.
struct Heads {
  Heads(at::Tensor x) : value(std::move(x)) {}  // NOLINT: a tensor is one
  // rotary(rms_norm(x, weight, eps)) over head_dim, or without rotary where cos is
  // undefined. weight [head_dim].
  static Heads normed(const at::Tensor& x, const at::Tensor& weight, double eps,
                      const at::Tensor& cos, const at::Tensor& sin);

  at::Tensor value;
  at::Tensor raw, norm_weight, cos, sin;  // undefined where there was no norm
  double norm_eps = 0;
};

// Throws Error where the mode, memory.attention, has no kernel for this.
void check_attention(AttentionMode mode, const AttentionShape& shape);

// Whether attention reads each sequence's length from the device, so that its launches
// are the same for all batches of as many tokens and sequences: flash attention.
bool attention_replays(AttentionMode mode, const AttentionShape& shape);

// Attention over sequences laid end to end; a token sees its own sequence only, and where
// spans.window is given, so many of its keys.
//
//   q [queries, heads, head_dim]   k, v [keys, kv_heads, head_dim]
//   ->  [queries, heads, head_dim]
//
// Heads share keys in groups of heads / kv_heads (Ainslie et al. 2023, "GQA").
//
// `mode` is memory.attention. On the CPU: our kernel up to 512 keys, LibTorch's beyond,
// or the plain formula. On a GPU: flash attention over all sequences at once (bf16, no
// masks), cuDNN's over sequences of about one length, LibTorch's memory-efficient kernel
// a sequence where `auto` cannot take flash, and the formula only where it is asked for.
// Throws Error where the chosen one cannot do it; cuDNN's has no window.
//
// Work falls with the window: our kernel and flash attention leave out what lies before
// it, LibTorch's others take 512 queries at a time with the keys that those see, and make
// each such part again for the backward pass.
//
// The plain form, for tests and comparison: the model uses attention_linear.
at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const Spans& spans, AttentionRule rule = {});

// linear(attention(q, k, v), weight) -> [queries, out], in q's type. Our kernel's
// outputs are made again for the backward pass instead of kept; others keep theirs. What
// the model uses.
at::Tensor attention_linear(const Heads& q, const Heads& k, const at::Tensor& v,
                            const Spans& spans, const LinearWeight& weight,
                            AttentionRule rule = {});

// The same where the first half of the heads has other spans than the second. Keeps its
// outputs and copies of each half's queries, keys and values. An even number of kv_heads.
at::Tensor attention_linear(const Heads& q, const Heads& k, const at::Tensor& v,
                            const std::array<Spans, 2>& spans, const LinearWeight& weight,
                            AttentionRule rule = {});

}  // namespace lowmem::ops
