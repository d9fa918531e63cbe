#pragma once

#include <ATen/core/Tensor.h>

namespace lowmem::ops {

// x @ weight.T + bias, computed in `compute_dtype`: operands of another type are cast
// first, which makes fp32 weights with bf16 arithmetic what autocast calls mixed
// precision.
//
//   x [N, in]   weight [out, in]   bias [out] or undefined   ->   [N, out] compute_dtype
//
// A cast weight lives until its backward pass; equal types cost nothing.
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                  at::ScalarType compute_dtype);

}  // namespace lowmem::ops
