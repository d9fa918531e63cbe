#pragma once

#include <ATen/core/Tensor.h>

namespace lowmem::ops {

// x / sqrt(mean(x^2) + eps) * weight over the last dimension, in fp32 whatever the type
// of `x`, and rounded once to `out_dtype`.
//
//   x [N, D]   weight [D]   ->   [N, D] out_dtype
//
// Zhang & Sennrich 2019, "Root Mean Square Layer Normalization".
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps,
                    at::ScalarType out_dtype);

}  // namespace lowmem::ops
