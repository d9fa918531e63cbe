#include "lowmem/ops/swiglu_linear.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "lowmem/core/units.h"
#include "lowmem/kernels/swiglu.h"
#include "lowmem/ops/device.h"
#include "lowmem/ops/elements.h"
#include "wanted.h"

namespace lowmem::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// On the CPU always; on a device so many that a slice has some MiB, since small products
// keep it less busy.
constexpr int64_t kMostSlices = 8;
constexpr int64_t kDeviceSlice = 8 * kMiB;

int64_t slices_of(const at::Tensor& gate) {
  if (!for_device(gate)) return kMostSlices;
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
                            at::TensorList tensors, bool value) {
    const LinearWeight weight = LinearWeight::kept({tensors.data(), tensors.size()});
    variable_list kept = {gate, up};
    kept.insert(kept.end(), tensors.begin(), tensors.end());
    context->save_for_backward(std::move(kept));
    if (!value) return at::empty({gate.size(0), weight.out()}, gate.options());
    at::Tensor y = at::empty_like(gate);
    multiply(gate, up, y);
    return weight.value(y);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    at::Tensor gate = saved[0], up = saved[1];
    const LinearWeight weight = LinearWeight::kept(std::span(saved).subspan(2));
    const at::Tensor out_gradient = gradients[0].contiguous();
    const at::ScalarType type = gate.scalar_type();
    const int64_t inner = gate.size(1), slices = slices_of(gate);

    LinearFactor factor(weight, type);
    LinearGradients by_weight(weight, factor, type,
                              wanted_of(context, 2, saved.size() - 2));
    const int64_t slice = aligned((inner + slices - 1) / slices);
    for (int64_t first = 0; first < inner; first += slice) {
      const int64_t columns = std::min(slice, inner - first);
      at::Tensor y = factor.by_input(out_gradient, first, columns);
      put_gradients(args_of(gate, up, first, columns), y);
      by_weight.add(out_gradient, y, first);
    }
    factor.release();
    variable_list found = by_weight.finish(out_gradient);
    found.insert(found.begin(), {gate, up});
    found.emplace_back();
    return found;
  }
};

}  // namespace

at::Tensor swiglu_linear(at::Tensor gate, at::Tensor up, const LinearWeight& weight,
                         Output output) {
  if (at::GradMode::is_enabled())
    return SwigluLinear::apply(std::move(gate), std::move(up),
                               at::TensorList(weight.tensors()),
                               output == Output::kValue);
  multiply(gate, up, gate);
  up.reset();
  return weight.value(gate);
}

}  // namespace lowmem::ops
