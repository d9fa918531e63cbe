#include "lowmem/ops/rms_norm.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "lowmem/kernels/rms_norm.h"
#include "lowmem/ops/device.h"
#include "lowmem/ops/elements.h"

namespace lowmem::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Rows of the weight's gradient are summed in at most this many blocks, each in order,
// whatever the number of threads.
constexpr int64_t kBlocks = 16;

kernels::RmsNormArgs args_of(const at::Tensor& x, const at::Tensor& weight, double eps) {
  return {const_array_of(x), const_array_of(weight), x.size(1), static_cast<float>(eps)};
}

at::Tensor forward_rows(const at::Tensor& x, const at::Tensor& weight, double eps,
                        at::ScalarType type) {
  at::Tensor y = at::empty(x.sizes(), x.options().dtype(type));
  const kernels::Array out = array_of(y);
  const kernels::RmsNormArgs args = args_of(x, weight, eps);
  if (on_device(x))
    kernels::cuda::rms_norm(args, out, x.size(0), stream_of(x));
  else
    parallel(x.size(0), rows_of_grain(x.size(1)), [&](int64_t begin, int64_t end) {
      kernels::rms_norm(args, out, begin, end);
    });
  return y;
}

// The weight's gradient, [columns] fp32, or an undefined tensor; that by x goes to
// `x_gradient` where it has an address.
at::Tensor backward_rows(const kernels::RmsNormArgs& args, const at::Tensor& dy,
                         kernels::Array x_gradient, bool wants_weight) {
  const int64_t rows = dy.size(0), columns = dy.size(1);
  const int64_t block = std::max<int64_t>(1, (rows + kBlocks - 1) / kBlocks);
  const int64_t blocks = (rows + block - 1) / block;
  at::Tensor sums;
  float* partial = nullptr;
  if (wants_weight) {
    sums = at::zeros({blocks, columns}, at::kFloat);
    partial = floats_of(sums);
  }
  parallel(blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      kernels::rms_norm_backward(args, const_array_of(dy), x_gradient,
                                 partial == nullptr ? nullptr : partial + i * columns,
                                 i * block, std::min(rows, (i + 1) * block));
  });
  return wants_weight ? sums.sum(0) : sums;
}

at::Tensor backward_rows_on_device(const kernels::RmsNormArgs& args, const at::Tensor& dy,
                                   kernels::Array x_gradient, bool wants_weight) {
  const int64_t rows = dy.size(0), columns = dy.size(1);
  at::Tensor sums, workspace;
  if (wants_weight) {
    const auto floats = dy.options().dtype(at::kFloat);
    sums = at::zeros({columns}, floats);
    workspace = at::empty({kernels::cuda::rms_norm_workspace(rows, columns)}, floats);
  }
  kernels::cuda::rms_norm_backward(
      args, const_array_of(dy), x_gradient, wants_weight ? floats_of(sums) : nullptr,
      wants_weight ? floats_of(workspace) : nullptr, rows, stream_of(dy));
  return sums;
}

class RmsNorm final : public torch::autograd::Function<RmsNorm> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x,
                            const at::Tensor& weight, double eps, at::ScalarType type) {
    context->save_for_backward({x, weight});
    context->saved_data["eps"] = eps;
    return forward_rows(x, weight, eps, type);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1];
    const at::Tensor dy = gradients[0].contiguous();
    const kernels::RmsNormArgs args =
        args_of(x, weight, context->saved_data["eps"].toDouble());

    at::Tensor dx;
    kernels::Array x_gradient;
    if (context->needs_input_grad(0)) {
      dx = at::empty_like(x);
      x_gradient = array_of(dx);
    }
    at::Tensor dweight = (on_device(x) ? backward_rows_on_device : backward_rows)(
        args, dy, x_gradient, context->needs_input_grad(1));
    if (dweight.defined()) dweight = dweight.to(weight.scalar_type());
    return {dx, dweight, {}, {}};
  }
};

}  // namespace

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps,
                    at::ScalarType out_dtype) {
  return RmsNorm::apply(x.contiguous(), weight, eps, out_dtype);
}

}  // namespace lowmem::ops
