#pragma once

#include <ATen/core/Tensor.h>

namespace lowmem::ops {

// x @ weight.T + bias in x's type; `bias` may be undefined.
at::Tensor linear_value(const at::Tensor& x, const at::Tensor& weight,
                        const at::Tensor& bias);

// From the output's gradient, those by the weight, in the weight's type, and by the bias.
at::Tensor weight_gradient(const at::Tensor& out_gradient, const at::Tensor& x,
                           at::ScalarType type);
at::Tensor bias_gradient(const at::Tensor& out_gradient, at::ScalarType type);

}  // namespace lowmem::ops
