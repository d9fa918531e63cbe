#pragma once

#include <ATen/core/Tensor.h>

#include "lowmem/ops/linear_weight.h"

namespace lowmem::ops {

// What a caller wants of an operation that it runs again before the backward pass.
enum class Output {
  kValue,  // the result, and its graph where there is one
  kGraph,  // the graph alone: the result's numbers are left undefined
};

// (silu(gate) * up) @ W.T + bias, the end of a Llama's MLP.
//
//   gate, up [N, I] in the compute type   W [D, I]   ->  [N, D] in the compute type
//
// silu(gate) * up is never kept: the backward pass makes it again, a slice of columns at
// a time, and puts the gradients of gate and up in their place. So gate and up must be
// nobody else's; without a graph they are overwritten as well. With Output::kGraph the
// product is not computed.
//
// Extra memory of the backward pass: the weight's gradient and 1/8 of gate.
// Shazeer 2020, "GLU Variants Improve Transformer".
at::Tensor swiglu_linear(at::Tensor gate, at::Tensor up, const LinearWeight& weight,
                         Output output);

}  // namespace lowmem::ops
