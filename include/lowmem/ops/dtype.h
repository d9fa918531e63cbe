#pragma once

#include <ATen/core/Tensor.h>

#include "lowmem/core/dtype.h"

namespace lowmem::ops {

// The types that weights and optimizers' tensors have, in LibTorch's words and in the
// files': fp32, bf16, and bytes of either kind, which are codes.
inline at::ScalarType scalar_type(DType dtype) {
  if (dtype == DType::kU8) return at::kByte;
  if (dtype == DType::kI8) return at::kChar;
  return dtype == DType::kF32 ? at::kFloat : at::kBFloat16;
}
inline DType dtype_of(at::ScalarType type) {
  if (type == at::kByte) return DType::kU8;
  if (type == at::kChar) return DType::kI8;
  return type == at::kFloat ? DType::kF32 : DType::kBF16;
}
inline DType dtype_of(const at::Tensor& tensor) { return dtype_of(tensor.scalar_type()); }

}  // namespace lowmem::ops
