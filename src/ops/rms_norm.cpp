#include "lowmem/ops/rms_norm.h"

#include <ATen/ATen.h>

namespace lowmem::ops {

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps,
                    at::ScalarType out_dtype) {
  const at::Tensor x32 = x.to(at::kFloat);
  const at::Tensor inverse = at::rsqrt(x32.square().mean(-1, /*keepdim=*/true) + eps);
  return (x32 * inverse * weight.to(at::kFloat)).to(out_dtype);
}

}  // namespace lowmem::ops
