#pragma once

#include <ATen/core/Tensor.h>

#include "lowmem/core/dtype.h"

namespace lowmem::ops {

// The two types that weights and optimizers' tensors have, in LibTorch's words and in the
// files'.
inline at::ScalarType scalar_type(DType dtype) {
  return dtype == DType::kF32 ? at::kFloat : at::kBFloat16;
}
inline DType dtype_of(at::ScalarType type) {
  return type == at::kFloat ? DType::kF32 : DType::kBF16;
}
inline DType dtype_of(const at::Tensor& tensor) { return dtype_of(tensor.scalar_type()); }

}  // namespace lowmem::ops
