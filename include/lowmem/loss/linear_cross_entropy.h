#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "lowmem/core/units.h"
#include "lowmem/ops/matrix_rows.h"

namespace lowmem::loss {

struct LossOptions {
  bool chunked = true;             // false: the whole [M, V] logits at once
  int64_t chunk_bytes = 8 * kMiB;  // of logits and cast weights together
  int64_t least_classes = 1;       // of a slice, even where that takes more bytes
  // Of the weight, at the most, in a slice: it may have to be brought.
  int64_t weight_bytes = 16 * kMiB;
};

// For a device: slices wide enough to keep it busy, and to be added up seldom.
inline constexpr LossOptions kDeviceLoss{true, 32 * kMiB, 8192, 128 * kMiB};

struct LossRequest {
  at::Tensor hidden;       // [M, D] in the compute type, after the final norm; no graph
  ops::MatrixRows weight;  // [V, D] in its own type
  at::Tensor labels;       // [M] int64, each in [0, V)
  float scale = 1;         // of the gradients: 1 / labelled tokens of the whole batch
};

struct Loss {
  at::Tensor sum;              // double, of the M negative log-likelihoods
  at::Tensor log_sum_exp;      // [M] fp32, of each row's logits
  at::Tensor hidden_gradient;  // [M, D] in the compute type, or undefined
};

// Cross-entropy of hidden @ weight.T against labels, and where asked its gradient by
// `hidden`, a slice of the vocabulary at a time: the [M, V] logits never exist, and each
// slice is made once. The gradient is the softmax's mean of the weight's rows less the
// label's row; the mean is kept up to date as larger logits come, as in flash attention.
//
// Rows without a label must have been left out before: M counts labelled rows only. M = 0
// gives 0. Extra memory: chunk_bytes (at least least_classes') and a few
// [M, D] fp32.
// Reference: Wijmans et al. 2024, "Cut Your Losses in Large-Vocabulary Language Models".
Loss linear_cross_entropy(const LossRequest& request, bool hidden_gradient,
                          const LossOptions& options);

// The gradient of the same loss by the weight, [V, D] in the weight's type: a slice at a
// time as well, with the slice's logits made once more. `log_sum_exp` is the loss's.
at::Tensor head_gradient(const LossRequest& request, const at::Tensor& log_sum_exp,
                         const LossOptions& options);

// Rows [first, last) of it alone, with the same bits: first, and last unless it is V,
// must be multiples of rows_of_slice(), and of the weight only these rows need be there.
at::Tensor head_gradient_rows(const LossRequest& request, const at::Tensor& log_sum_exp,
                              const LossOptions& options, int64_t first, int64_t last);
int64_t rows_of_slice(const LossRequest& request, const LossOptions& options);

// Log-probability of each label, [M] fp32 on the same device: what evaluation sums up.
// Same slices, same memory.
at::Tensor label_log_probabilities(const at::Tensor& hidden,
                                   const ops::MatrixRows& weight,
                                   const at::Tensor& labels, const LossOptions& options);

}  // namespace lowmem::loss
