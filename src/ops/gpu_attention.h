#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

#include "lowmem/ops/attention.h"

namespace lowmem::ops {

// What keeps flash attention from these arguments, as a clause of an error; null:
// nothing.
const char* flash_obstacle(const at::Tensor& q, const Spans& spans);

// All sequences in one call. Deterministic: the backward pass sums queries' gradients in
// one order. Extra memory of the backward pass: those gradients in fp32, and keys' and
// values' for each head. Dao 2023, "FlashAttention-2".
at::Tensor flash_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const Spans& spans);

// Through cuDNN, for sequences of about one length at once, padded to a multiple of 64:
// its plans are made a shape. Not deterministic.
at::Tensor cudnn_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const Spans& spans);

// Causal attention of [count, heads, length, head_dim], keys with fewer heads.
using PaddedKernel =
    std::function<at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&)>;
// cudnn_attention() around any kernel.
at::Tensor padded_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const Spans& spans, const PaddedKernel& kernel);

}  // namespace lowmem::ops
