#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <optional>

#include "gpu_attention.h"
#include "lowmem/memory/rehearsal.h"

namespace lowmem::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Asks LibTorch for one order of sums, which is a setting of the whole process, but not
// for the filling of new memory that comes with it.
class Deterministic {
 public:
  Deterministic()
      : algorithms_(at::globalContext().deterministicAlgorithms()),
        warns_(at::globalContext().deterministicAlgorithmsWarnOnly()),
        fills_(at::globalContext().deterministicFillUninitializedMemory()) {
    at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/false);
    at::globalContext().setDeterministicFillUninitializedMemory(false);
  }
  ~Deterministic() {
    at::globalContext().setDeterministicAlgorithms(algorithms_, warns_);
    at::globalContext().setDeterministicFillUninitializedMemory(fills_);
  }
  Deterministic(const Deterministic&) = delete;
  Deterministic& operator=(const Deterministic&) = delete;

 private:
  bool algorithms_, warns_, fills_;
};

// How many keys before its own a query sees, where that is not all.
std::optional<int64_t> keys_to_the_left(int64_t window) {
  return window > 0 ? std::optional(window - 1) : std::nullopt;
}

// None after it, which a kernel with a window asks for as well.
std::optional<int64_t> keys_to_the_right(int64_t window) {
  return window > 0 ? std::optional<int64_t>(0) : std::nullopt;
}

// LibTorch takes a longest query of one token for decoding, and arranges q otherwise.
int64_t most(int64_t longest) { return std::max<int64_t>(2, longest); }

class Flash final : public torch::autograd::Function<Flash> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& q,
                            const at::Tensor& k, const at::Tensor& v, const Spans& spans,
                            double scale) {
    auto [out, log_sum_exp, state, unused, debug] = at::_flash_attention_forward(
        q, k, v, spans.query_offsets, spans.key_offsets, most(spans.most_queries),
        most(spans.most_keys), /*dropout_p=*/0.0, /*is_causal=*/true,
        /*return_debug_mask=*/false, scale, keys_to_the_left(spans.window),
        keys_to_the_right(spans.window));
    context->save_for_backward({q, k, v, out, log_sum_exp, spans.query_offsets,
                                spans.key_offsets, state, unused});
    context->saved_data["most queries"] = most(spans.most_queries);
    context->saved_data["most keys"] = most(spans.most_keys);
    context->saved_data["window"] = spans.window;
    context->saved_data["scale"] = scale;
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const int64_t window = context->saved_data["window"].toInt();
    const Deterministic one_order;
    auto [dq, dk, dv] = at::_flash_attention_backward(
        gradients[0].contiguous(), saved[0], saved[1], saved[2], saved[3], saved[4],
        saved[5], saved[6], context->saved_data["most queries"].toInt(),
        context->saved_data["most keys"].toInt(), /*dropout_p=*/0.0, /*is_causal=*/true,
        saved[7], saved[8], context->saved_data["scale"].toDouble(),
        keys_to_the_left(window), keys_to_the_right(window));
    return {dq, dk, dv, {}, {}};
  }
};

}  // namespace

const char* flash_obstacle(const AttentionShape& shape) {
  if (shape.device.is_cpu() && memory::rehearsed_gpu() == nullptr) return "needs a GPU";
  if (shape.type != at::kBFloat16) return "needs model.compute_dtype = bf16";
  if (shape.head_dim % 8 != 0 || shape.head_dim > 256)
    return "needs heads of a multiple of 8 numbers, at most 256";
  return nullptr;
}

at::Tensor flash_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const Spans& spans, double scale) {
  if (memory::rehearsing())
    return flash_room(q.contiguous(), k.contiguous(), v.contiguous(), spans);
  return Flash::apply(q.contiguous(), k.contiguous(), v.contiguous(), spans, scale);
}

}  // namespace lowmem::ops
