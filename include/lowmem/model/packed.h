#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "lowmem/model/config.h"
#include "lowmem/ops/attention.h"

namespace lowmem::model {

// What the draws of a training step are functions of, for some of its tokens.
struct Draw {
  uint64_t seed = 0;
  uint32_t step = 0;
  at::Tensor tokens;  // [N] int64: each one's place in the batch
};

// Sequences laid end to end. N tokens in all, B sequences. None is padded.
struct Packed {
  at::Tensor ids;                 // [N] int64, on the model's device
  std::vector<int64_t> host_ids;  // the same, where nothing has to wait for them
  ops::Spans spans;               // each sequence's tokens, and what they may attend to
  ops::Spans window_spans;  // the same for layers with a window, where there are any
  at::Tensor cos, sin;      // [N, head_dim / 2] fp32: rotary angles of each token

  // model.attention_span = shifted: for each half of the heads, what it attends to in
  // place of `spans`. Else empty.
  std::array<ops::Spans, 2> groups = {};

  std::optional<Draw> draw = {};  // in training, where anything is drawn

  int64_t tokens() const { return static_cast<int64_t>(host_ids.size()); }
  int64_t sequences() const { return static_cast<int64_t>(spans.size()) - padding; }

  // Whether a last sequence only fills up: it is in ids and spans, and counts for
  // nothing.
  bool padding = false;
};

// Some of the tokens: those whose hidden states are wanted after the last block. M rows.
struct Rows {
  at::Tensor index;  // [M] int64, ascending, on the model's device
  ops::Spans spans;  // like Packed's, with queries for these tokens alone
  ops::Spans window_spans;
  std::array<ops::Spans, 2> groups = {};
  at::Tensor cos, sin;  // [M, head_dim / 2] fp32
  std::optional<Draw> draw = {};
};

// Lets the tokens of each sequence see their own group of `group` tokens alone, an even
// number: the first half of the heads groups from the sequence's beginning on, the second
// half groups that begin half a group later, the first one half as long. No branches.
// Chen et al. 2024, "LongLoRA", the variant that does not wrap around.
void attend_in_groups(Packed& packed, int64_t group);

// `positions`: tokens of `packed`, ascending. O(M L) for sequences of L tokens.
Rows select_rows(const Packed& packed, const std::vector<int64_t>& positions);

// A text, or several that begin alike: each branch continues the trunk, and sees the
// trunk and itself only.
struct Sequence {
  std::span<const int32_t> trunk;
  std::vector<std::span<const int32_t>> branches;
};

// Angles of rotary position embeddings for any model length, and the model's window.
// Holds head_dim / 2 numbers.
class RotaryAngles {
 public:
  explicit RotaryAngles(const Config& config);

  // Inverse frequencies after the model's scaling, [head_dim / 2] float.
  const std::vector<float>& inverse_frequencies() const { return inverse_; }

  // Packs sequences for `device`; each starts at position 0. With `multiple`, a sequence
  // that only fills up makes the tokens a multiple of it, so that shapes come again.
  Packed pack(const std::vector<Sequence>& sequences, c10::Device device,
              int64_t multiple = 0) const;

 private:
  std::vector<float> inverse_;
  int64_t window_;  // 0: none
};

}  // namespace lowmem::model
