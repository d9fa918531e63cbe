#include "lowmem/ops/rotary.h"

#include <ATen/ATen.h>

namespace lowmem::ops {

at::Tensor rotary(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  const std::vector<at::Tensor> halves = x.to(at::kFloat).chunk(2, -1);
  const at::Tensor c = cos.unsqueeze(1), s = sin.unsqueeze(1);  // over all heads
  const at::Tensor low = halves[0] * c - halves[1] * s;
  const at::Tensor high = halves[1] * c + halves[0] * s;
  return at::cat({low, high}, -1).to(x.scalar_type());
}

}  // namespace lowmem::ops
