#pragma once

#include <ATen/core/Tensor.h>

#include "lowmem/ops/attention.h"

namespace lowmem::ops {

// LibTorch's kernels and the formula, run by run of sequences of one length. With a
// window shorter than a sequence, some queries at a time. `rule` has its scale.
at::Tensor library_attention(const at::Tensor& q, const at::Tensor& k,
                             const at::Tensor& v, const Spans& spans,
                             const AttentionRule& rule);

}  // namespace lowmem::ops
