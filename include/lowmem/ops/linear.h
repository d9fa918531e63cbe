#pragma once

#include <ATen/core/Tensor.h>

#include "lowmem/ops/linear_weight.h"

namespace lowmem::ops {

// What a linear layer multiplies. Its backward pass needs the values once more: where
// they are a norm's, they are made again from the norm's own input instead of kept.
struct LinearInput {
  LinearInput(at::Tensor x) : value(std::move(x)) {}  // NOLINT: a tensor is an input
  // rms_norm(hidden, weight, eps) in `dtype`.
  static LinearInput norm(const at::Tensor& hidden, const at::Tensor& weight, double eps,
                          at::ScalarType dtype);

  at::Tensor value;                    // [N, in]
  at::Tensor norm_input, norm_weight;  // undefined where the value is no norm's
  double norm_eps = 0;
};

// x @ W.T + bias, computed in `compute_dtype`: operands of another type are cast first,
// which makes fp32 weights with bf16 arithmetic what autocast calls mixed precision.
//
//   x [N, in]  ->  [N, out] compute_dtype
at::Tensor linear(const LinearInput& x, const LinearWeight& weight,
                  at::ScalarType compute_dtype);

}  // namespace lowmem::ops
