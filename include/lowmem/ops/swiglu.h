#pragma once

#include <ATen/core/Tensor.h>

namespace lowmem::ops {

// silu(gate) * up, element by element; both [N, I], same dtype.
// Shazeer 2020, "GLU Variants Improve Transformer".
at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up);

}  // namespace lowmem::ops
