#include <limits>

#include "compare.h"
#include "lowmem/kernels/cross_entropy.h"
#include "lowmem/loss/linear_cross_entropy.h"
#include "lowmem/ops/elements.h"

namespace lowmem::bench {
namespace {

// The logits of one slice of the vocabulary, as large as the loss makes them.
struct Slice {
  explicit Slice(at::ScalarType dtype)
      : columns(loss::LossOptions().chunk_bytes /
                (kLabelled * static_cast<int64_t>(at::elementSize(dtype)))),
        before(normal({kLabelled, columns}, dtype)),
        logits(before.clone()),
        labels(at::randint(columns, {kLabelled}, at::kLong)) {}

  void reset() { logits.copy_(before); }
  kernels::LogitSlice slice() {
    return {ops::array_of(logits), columns, 0, labels.const_data_ptr<int64_t>()};
  }
  int64_t bytes() const { return static_cast<int64_t>(2 * logits.nbytes()); }

  int64_t columns;
  at::Tensor before, logits, labels;
};

// One step of the running softmax, its exponentials kept.
struct Softmax : Slice {
  using Slice::Slice;
  void reset() {
    Slice::reset();
    largest.fill_(-std::numeric_limits<float>::infinity());
    sum.zero_();
  }
  void kernel() {
    const kernels::SoftmaxRows rows{ops::floats_of(largest), ops::floats_of(sum),
                                    ops::floats_of(label_logit), ops::floats_of(factor)};
    kernels::softmax_slice(slice(), rows, /*exponentials=*/true, 0, kLabelled);
  }
  void aten() {
    label_logit.copy_(logits.gather(1, labels.unsqueeze(1)).squeeze(1));
    const at::Tensor top = at::maximum(largest, logits.amax(1).to(at::kFloat));
    const at::Tensor powers = (logits - top.unsqueeze(1)).exp_();
    factor = (largest - top).exp_();
    sum.mul_(factor).add_(powers.sum(1));
    logits.copy_(powers);
    largest = top;
  }

  at::Tensor largest = at::empty({kLabelled}, at::kFloat), sum = at::empty_like(largest),
             label_logit = at::empty_like(largest), factor = at::empty_like(largest);
};

struct Gradient : Slice {
  explicit Gradient(at::ScalarType dtype)
      : Slice(dtype), log_sum_exp(before.to(at::kFloat).logsumexp(1)) {}
  void kernel() {
    kernels::cross_entropy_gradient(slice(), log_sum_exp.const_data_ptr<float>(), kScale,
                                    0, kLabelled);
  }
  void aten() {
    at::Tensor p = (logits - log_sum_exp.unsqueeze(1)).exp_();
    p.scatter_add_(1, labels.unsqueeze(1), minus_one);
    logits.copy_(p.mul_(kScale));
  }

  static constexpr float kScale = 1.0f / kLabelled;
  at::Tensor log_sum_exp;
  at::Tensor minus_one = at::full({kLabelled, 1}, -1.0f);
};

[[maybe_unused]] const bool registered =
    compare<Softmax>("softmax_slice") && compare<Gradient>("cross_entropy_gradient");

}  // namespace
}  // namespace lowmem::bench
