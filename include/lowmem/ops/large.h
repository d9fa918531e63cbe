#pragma once

#include <ATen/core/Tensor.h>

// LibTorch's operations on what may be as large as a weight. A rehearsal makes room for
// the result and leaves it unwritten.
namespace lowmem::ops {

// a [n, k] @ b [k, m] -> [n, m]
at::Tensor product(const at::Tensor& a, const at::Tensor& b);
void product_into(at::Tensor& out, const at::Tensor& a, const at::Tensor& b);
// sum += a @ b, in fp32
void add_product(at::Tensor& sum, const at::Tensor& a, const at::Tensor& b);
// x [n, in] @ weight [out, in].T + bias [out] or undefined -> [n, out]
at::Tensor product_with_bias(const at::Tensor& x, const at::Tensor& weight,
                             const at::Tensor& bias);

// In another type; the tensor itself where it has it already.
at::Tensor converted(const at::Tensor& tensor, at::ScalarType type);
void convert_into(at::Tensor& to, const at::Tensor& from);

at::Tensor zeros(at::IntArrayRef shape, const at::TensorOptions& options);

// to += from, which may be of a narrower type.
void add_to(at::Tensor& to, const at::Tensor& from);

}  // namespace lowmem::ops
