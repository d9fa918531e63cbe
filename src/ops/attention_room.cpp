// What attention that is not ours takes, for rehearsals: LibTorch's kernels write
// whatever memory they are given, and take as long in a rehearsal as in a step.
#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "gpu_attention.h"
#include "lowmem/memory/rehearsal.h"

namespace lowmem::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

int64_t divided_up(int64_t number, int64_t by) { return (number + by - 1) / by; }

class Flash final : public torch::autograd::Function<Flash> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& q,
                            const at::Tensor& k, const at::Tensor& v, int64_t sequences) {
    at::Tensor out = at::empty_like(q);
    const at::Tensor log_sum_exp = at::empty({q.size(1), q.size(0)}, at::kFloat);
    context->save_for_backward({q, k, v, out, log_sum_exp});
    context->saved_data["sequences"] = sequences;
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &q = saved[0], &k = saved[1];
    const at::Tensor gradient = gradients[0].contiguous();
    const int64_t sequences = context->saved_data["sequences"].toInt();
    const int64_t heads = q.size(1), width = divided_up(q.size(2), 32) * 32;
    const int64_t rows = q.size(0) + 128 * sequences;
    const int64_t times = divided_up(memory::rehearsed_gpu()->multiprocessors,
                                     std::max<int64_t>(1, sequences * heads));
    variable_list own = {at::empty({times, rows, heads, width}, at::kFloat),
                         at::empty({heads, rows}, at::kFloat)};
    if (k.size(1) != heads)
      for (int i = 0; i < 2; ++i)
        own.push_back(at::empty({k.size(0), heads, k.size(2)}, k.options()));
    return {at::empty_like(q), at::empty_like(k), at::empty_like(k), {}};
  }
};

// In fp32, whatever the type of its arguments.
class Formula final : public torch::autograd::Function<Formula> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& q,
                            const at::Tensor& k, const at::Tensor& v) {
    const bool copies = q.scalar_type() != at::kFloat || k.size(1) != q.size(1);
    const auto wide = [&](int64_t length, int64_t width) {
      return at::empty({q.size(0), q.size(1), length, width}, at::kFloat);
    };
    const at::Tensor scaled_q = wide(q.size(2), q.size(3));
    const at::Tensor scaled_k = wide(k.size(2), k.size(3));
    const at::Tensor values = copies ? wide(v.size(2), v.size(3)) : v;
    at::Tensor scores = wide(q.size(2), k.size(2)), masked = wide(q.size(2), k.size(2));
    scores.reset();
    const at::Tensor weights = wide(q.size(2), k.size(2));
    masked.reset();
    context->save_for_backward({scaled_q, scaled_k, values, weights, q, k});
    const at::Tensor mixed = wide(q.size(2), q.size(3));
    return mixed.to(q.scalar_type());
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &q = saved[4], &k = saved[5];
    const at::Tensor gradient = gradients[0].contiguous();
    const at::Tensor dvalues = at::empty_like(saved[2]);
    const at::Tensor dweights = at::empty_like(saved[3]);
    const at::Tensor dscores = at::empty_like(saved[3]);
    return {at::empty(q.sizes(), q.options()), at::empty(k.sizes(), k.options()),
            at::empty(k.sizes(), k.options())};
  }
};

}  // namespace

at::Tensor flash_room(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                      const Spans& spans) {
  return Flash::apply(q, k, v, static_cast<int64_t>(spans.size()));
}

at::Tensor formula_room(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  return Formula::apply(q, k, v);
}

}  // namespace lowmem::ops
