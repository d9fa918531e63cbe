#pragma once

#include <ATen/core/Tensor.h>

// Products of bf16 through fp32, for processors that oneDNN has no bf16 products for (x86
// without AVX-512). LibTorch multiplies element by element there, at a hundredth of the
// speed of fp32.
namespace lowmem::ops {

// Whether this processor's own products of that type, on the CPU, are that slow.
bool product_is_better_widened(const at::Tensor& a);

// out = a @ b + bias, or a @ b where bias is not defined
// out [n, m], a [n, k], b [k, m], bias [m]: bf16, each a view of any strides. Summed in
// fp32 and rounded once. Beside them there are never more than 1 MiB: a and b are
// widened a block at a time. A rehearsal makes that room and leaves `out` unwritten.
void widened_product_into(at::Tensor& out, const at::Tensor& a, const at::Tensor& b,
                          const at::Tensor& bias);

}  // namespace lowmem::ops
