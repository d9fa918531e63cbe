#include "lowmem/ops/rotary.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "lowmem/kernels/rotary.h"
#include "lowmem/ops/device.h"
#include "lowmem/ops/elements.h"

namespace lowmem::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Tensor turned(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                  bool inverse) {
  at::Tensor y = at::empty_like(x);
  const kernels::RotaryArgs args{const_array_of(x),
                                 cos.const_data_ptr<float>(),
                                 sin.const_data_ptr<float>(),
                                 x.size(1),
                                 x.size(2),
                                 inverse};
  const kernels::Array out = array_of(y);
  if (on_device(x))
    kernels::cuda::rotary(args, out, x.size(0), stream_of(x));
  else
    parallel(x.size(0), rows_of_grain(x.size(1) * x.size(2)),
             [&](int64_t begin, int64_t end) { kernels::rotary(args, out, begin, end); });
  return y;
}

class Rotary final : public torch::autograd::Function<Rotary> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x,
                            const at::Tensor& cos, const at::Tensor& sin) {
    context->save_for_backward({cos, sin});
    return turned(x, cos, sin, /*inverse=*/false);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    return {
        turned(gradients[0].contiguous(), saved[0], saved[1], /*inverse=*/true), {}, {}};
  }
};

}  // namespace

at::Tensor rotary(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  return Rotary::apply(x.contiguous(), cos, sin);
}

}  // namespace lowmem::ops
