#include "lowmem/ops/linear.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "linear_gradients.h"
#include "lowmem/ops/large.h"
#include "lowmem/ops/rehearsal.h"
#include "lowmem/ops/rms_norm.h"

namespace lowmem::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

class Linear final : public torch::autograd::Function<Linear> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x,
                            const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias,
                            const LinearInput& input) {
    const bool again = input.norm_input.defined();
    context->save_for_backward({again ? input.norm_input.detach() : x, weight,
                                again ? input.norm_weight.detach() : at::Tensor()});
    auto& data = context->saved_data;
    if (again) data["eps"] = input.norm_eps;
    if (bias) data["bias type"] = bias->scalar_type();
    data["type"] = x.scalar_type();
    return linear_value(x, weight, bias.value_or(at::Tensor()));
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor& weight = saved[1];
    auto& data = context->saved_data;
    const at::ScalarType type = data["type"].toScalarType();
    const at::Tensor dy = gradients[0].contiguous();
    at::Tensor dx, dweight, dbias;
    // The weight's first: a remade input is gone again before the input's gradient comes.
    if (context->needs_input_grad(1)) {
      const at::Tensor x =
          saved[2].defined() ? rms_norm(saved[0], saved[2], data["eps"].toDouble(), type)
                             : saved[0];
      dweight = weight_gradient(dy, x, weight.scalar_type());
    }
    if (context->needs_input_grad(0)) dx = product(dy, converted(weight, type));
    if (data.count("bias type") > 0 && context->needs_input_grad(2))
      dbias = bias_gradient(dy, data["bias type"].toScalarType());
    return {dx, dweight, dbias, {}};
  }
};

}  // namespace

LinearInput LinearInput::norm(const at::Tensor& hidden, const at::Tensor& weight,
                              double eps, at::ScalarType dtype) {
  LinearInput input(rms_norm(hidden, weight, eps, dtype));
  input.norm_input = hidden;
  input.norm_weight = weight;
  input.norm_eps = eps;
  return input;
}

at::Tensor linear(const LinearInput& x, const at::Tensor& weight, const at::Tensor& bias,
                  at::ScalarType compute_dtype) {
  const at::Tensor value = x.value.to(compute_dtype);
  if (!at::GradMode::is_enabled()) return linear_value(value, weight, bias);
  return Linear::apply(
      value, weight, bias.defined() ? std::optional<at::Tensor>(bias) : std::nullopt, x);
}

at::Tensor linear_value(const at::Tensor& x, const at::Tensor& weight,
                        const at::Tensor& bias) {
  const auto type = x.scalar_type();
  return product_with_bias(x, converted(weight, type),
                           bias.defined() ? bias.to(type) : bias);
}

at::Tensor weight_gradient(const at::Tensor& out_gradient, const at::Tensor& x,
                           at::ScalarType type) {
  const ItemScope item(Item::kGradients);
  return converted(product(out_gradient.t(), x), type);
}

at::Tensor bias_gradient(const at::Tensor& out_gradient, at::ScalarType type) {
  const bool half = out_gradient.scalar_type() == at::kBFloat16;
  return out_gradient
      .sum(0, /*keepdim=*/false, half ? at::kFloat : out_gradient.scalar_type())
      .to(type);
}

}  // namespace lowmem::ops
