#include "lowmem/ops/linear.h"

#include <ATen/ATen.h>

namespace lowmem::ops {

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                  at::ScalarType compute_dtype) {
  return at::linear(x.to(compute_dtype), weight.to(compute_dtype),
                    bias.defined() ? bias.to(compute_dtype) : bias);
}

}  // namespace lowmem::ops
