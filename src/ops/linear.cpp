#include "lowmem/ops/linear.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "lowmem/ops/rms_norm.h"
#include "wanted.h"

namespace lowmem::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

class Linear final : public torch::autograd::Function<Linear> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x,
                            at::TensorList tensors, const LinearInput& input) {
    const bool again = input.norm_input.defined();
    variable_list kept = {again ? input.norm_input.detach() : x,
                          again ? input.norm_weight.detach() : at::Tensor()};
    kept.insert(kept.end(), tensors.begin(), tensors.end());
    context->save_for_backward(std::move(kept));
    if (again) context->saved_data["eps"] = input.norm_eps;
    context->saved_data["type"] = x.scalar_type();
    return LinearWeight::kept({tensors.data(), tensors.size()}).value(x);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const LinearWeight weight = LinearWeight::kept(std::span(saved).subspan(2));
    auto& data = context->saved_data;
    const at::ScalarType type = data["type"].toScalarType();
    const at::Tensor dy = gradients[0].contiguous();
    const LinearFactor factor(weight, type);
    LinearGradients by_weight(weight, factor, type,
                              wanted_of(context, 1, saved.size() - 2));
    // The weight's first: a remade input is gone again before the input's gradient comes.
    if (by_weight.needs_input())
      by_weight.add(dy, saved[1].defined()
                            ? rms_norm(saved[0], saved[1], data["eps"].toDouble(), type)
                            : saved[0]);
    variable_list found = by_weight.finish(dy);
    at::Tensor dx;
    if (context->needs_input_grad(0)) dx = factor.by_input(dy);
    found.insert(found.begin(), dx);
    found.emplace_back();
    return found;
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

at::Tensor linear(const LinearInput& x, const LinearWeight& weight,
                  at::ScalarType compute_dtype) {
  const at::Tensor value = x.value.to(compute_dtype);
  if (!at::GradMode::is_enabled()) return weight.value(value);
  return Linear::apply(value, at::TensorList(weight.tensors()), x);
}

}  // namespace lowmem::ops
