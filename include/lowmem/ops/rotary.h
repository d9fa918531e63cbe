#pragma once

#include <ATen/core/Tensor.h>

namespace lowmem::ops {

// Rotary position embedding in Hugging Face's layout: element i pairs with i +
// head_dim/2.
//
//   x [N, heads, head_dim]   cos, sin [N, head_dim / 2] fp32   ->   like x
//
// Computed in fp32 and rounded once. Su et al. 2021, "RoFormer".
at::Tensor rotary(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin);

}  // namespace lowmem::ops
