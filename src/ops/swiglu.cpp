#include "lowmem/ops/swiglu.h"

#include <ATen/ATen.h>

namespace lowmem::ops {

at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up) {
  return at::silu(gate) * up;
}

}  // namespace lowmem::ops
