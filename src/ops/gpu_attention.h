#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

#include "lowmem/ops/attention.h"

namespace lowmem::ops {

// What keeps a kernel from this, as a clause of an error; null: nothing.
const char* flash_obstacle(const AttentionShape& shape);
const char* cudnn_obstacle(const AttentionShape& shape);

// All sequences in one call; none may have a mask. Deterministic on one kind of GPU: the
// backward pass sums queries' gradients in one order. For this it makes them, in fp32,
// ceil(multiprocessors / (sequences heads)) times, each for tokens + 128 sequences: once
// where sequences and heads are many. Beside them keys' and values' gradients for each
// head. Dao 2023, "FlashAttention-2".
at::Tensor flash_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const Spans& spans, double scale);

// Through cuDNN, for sequences of about one length at once, padded to a multiple of 64:
// its plans are made a shape. No masks, and no window. Not deterministic.
at::Tensor cudnn_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const Spans& spans, double scale);

// Causal attention of [count, heads, length, head_dim], keys with fewer heads.
using PaddedKernel =
    std::function<at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&)>;
// cudnn_attention() around any kernel.
at::Tensor padded_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const Spans& spans, const PaddedKernel& kernel);

// Of a rehearsal: they take the room of flash_attention(), and of LibTorch's attention by
// blocks and by the formula on the CPU, for [count, heads, length, head_dim], forward and
// backward. What they return has no meaning.
at::Tensor flash_room(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                      const Spans& spans);
at::Tensor blocks_room(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                       bool masked);
at::Tensor formula_room(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v);

}  // namespace lowmem::ops
