#include "lowmem/ops/swiglu_linear.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "linear_gradients.h"
#include "lowmem/core/units.h"
#include "lowmem/kernels/swiglu.h"
#include "lowmem/ops/device.h"
#include "lowmem/ops/elements.h"
#include "lowmem/ops/large.h"
#include "lowmem/ops/rehearsal.h"

namespace lowmem::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// On the CPU always; on a device so many that a slice has some MiB, since small products
// keep it less busy.
constexpr int64_t kMostSlices = 8;
constexpr int64_t kDeviceSlice = 8 * kMiB;

int64_t slices_of(const at::Tensor& gate) {
  if (!on_device(gate)) return kMostSlices;
  const auto bytes = static_cast<int64_t>(gate.nbytes());
  return std::clamp<int64_t>((bytes + kDeviceSlice - 1) / kDeviceSlice, 1, kMostSlices);
}

// Wide slices begin at whole cache lines, which matrix products are faster with.
int64_t aligned(int64_t columns) {
  constexpr int64_t kAligned = 64;
  return columns < kAligned ? columns : (columns + kAligned - 1) / kAligned * kAligned;
}

// Columns [first, first + columns) of both, for every row.
kernels::SwigluArgs args_of(at::Tensor& gate, at::Tensor& up, int64_t first,
                            int64_t columns) {
  return {array_of(gate), array_of(up), gate.size(1), first, columns};
}

void multiply(at::Tensor& gate, at::Tensor& up, at::Tensor& out) {
  const int64_t columns = gate.size(1);
  const kernels::SwigluArgs args = args_of(gate, up, 0, columns);
  const kernels::Array to = array_of(out);
  if (on_device(gate))
    return kernels::cuda::swiglu(args, to, columns, gate.size(0), stream_of(gate));
  parallel(gate.size(0), rows_of_grain(columns), [&](int64_t begin, int64_t end) {
    kernels::swiglu(args, to, columns, begin, end);
  });
}

// kernels::swiglu_backward() over `dy` [rows, columns].
void put_gradients(const kernels::SwigluArgs& args, at::Tensor& dy) {
  const kernels::Array array = array_of(dy);
  if (on_device(dy))
    return kernels::cuda::swiglu_backward(args, array, dy.size(0), stream_of(dy));
  parallel(dy.size(0), rows_of_grain(args.columns), [&](int64_t begin, int64_t end) {
    kernels::swiglu_backward(args, array, begin, end);
  });
}

class SwigluLinear final : public torch::autograd::Function<SwigluLinear> {
 public:
  static at::Tensor forward(AutogradContext* context, at::Tensor gate, at::Tensor up,
                            const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias, bool value) {
    context->save_for_backward({gate, up, weight});
    if (bias) context->saved_data["bias type"] = bias->scalar_type();
    if (!value) return at::empty({gate.size(0), weight.size(0)}, gate.options());
    at::Tensor y = at::empty_like(gate);
    multiply(gate, up, y);
    return linear_value(y, weight, bias.value_or(at::Tensor()));
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    at::Tensor gate = saved[0], up = saved[1];
    const at::Tensor& weight = saved[2];
    const at::Tensor out_gradient = gradients[0].contiguous();
    const at::ScalarType type = gate.scalar_type();
    const int64_t inner = gate.size(1), slices = slices_of(gate);

    at::Tensor factor = converted(weight, type);
    at::Tensor dweight, dbias;
    if (context->needs_input_grad(2)) {
      const ItemScope item(Item::kGradients);
      dweight = at::empty(weight.sizes(), weight.options().dtype(type));
    }
    const int64_t slice = aligned((inner + slices - 1) / slices);
    for (int64_t first = 0; first < inner; first += slice) {
      const int64_t columns = std::min(slice, inner - first);
      at::Tensor y = product(out_gradient, factor.narrow(1, first, columns));
      put_gradients(args_of(gate, up, first, columns), y);
      if (dweight.defined()) {
        at::Tensor part = dweight.narrow(1, first, columns);
        product_into(part, out_gradient.t(), y);
      }
    }
    factor.reset();
    if (dweight.defined()) {
      const ItemScope item(Item::kGradients);
      dweight = converted(dweight, weight.scalar_type());
    }
    auto& data = context->saved_data;
    if (data.count("bias type") > 0 && context->needs_input_grad(3))
      dbias = bias_gradient(out_gradient, data["bias type"].toScalarType());
    return {gate, up, dweight, dbias, {}};
  }
};

}  // namespace

at::Tensor swiglu_linear(at::Tensor gate, at::Tensor up, const at::Tensor& weight,
                         const at::Tensor& bias, Output output) {
  if (at::GradMode::is_enabled())
    return SwigluLinear::apply(
        std::move(gate), std::move(up), weight,
        bias.defined() ? std::optional<at::Tensor>(bias) : std::nullopt,
        output == Output::kValue);
  multiply(gate, up, gate);
  up.reset();
  return linear_value(gate, weight, bias);
}

}  // namespace lowmem::ops
