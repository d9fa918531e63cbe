#include "lowmem/loss/linear_cross_entropy.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

namespace lowmem::loss {
namespace {

// A slice of the vocabulary and its logits.
struct Slice {
  int64_t begin, end;
  at::Tensor weight;  // [end - begin, D] in the compute type
  at::Tensor logits;  // [M, end - begin] fp32
};

// `weight_gradient` may be undefined.
int64_t slice_rows(const at::Tensor& hidden, const at::Tensor& weight,
                   const at::Tensor& weight_gradient, const LossOptions& options) {
  if (!options.chunked) return weight.size(0);
  const int64_t element = hidden.element_size();
  // fp32 logits or probabilities, and their copy in the compute type.
  int64_t row_bytes = hidden.size(0) * (4 + (element == 4 ? 0 : element));
  if (weight.scalar_type() != hidden.scalar_type()) row_bytes += weight.size(1) * element;
  // A weight gradient's product before it is added to another type, and the fp32 sums
  // behind it on a CPU without bf16 instructions.
  int64_t product = 0;
  if (weight_gradient.defined()) {
    if (weight_gradient.scalar_type() != hidden.scalar_type()) product += element;
    if (element != 4 && hidden.is_cpu()) product += 4;
  }
  row_bytes += weight.size(1) * product;
  return std::clamp<int64_t>(options.chunk_bytes / std::max<int64_t>(1, row_bytes), 1,
                             weight.size(0));
}

// Calls f(slice) over the whole vocabulary.
template <class F>
void for_slices(const at::Tensor& hidden, const at::Tensor& weight,
                const at::Tensor& weight_gradient, const LossOptions& options, F&& f) {
  const int64_t rows = slice_rows(hidden, weight, weight_gradient, options);
  const int64_t vocabulary = weight.size(0);
  for (int64_t begin = 0; begin < vocabulary; begin += rows) {
    Slice slice{begin, std::min(vocabulary, begin + rows), {}, {}};
    slice.weight = weight.slice(0, slice.begin, slice.end).to(hidden.scalar_type());
    slice.logits = at::linear(hidden, slice.weight).to(at::kFloat);
    f(slice);
  }
}

// Each label's column in the slice, and which rows have theirs in it: both [M].
std::pair<at::Tensor, at::Tensor> labels_in(const Slice& slice,
                                            const at::Tensor& labels) {
  const at::Tensor column = labels - slice.begin;
  const at::Tensor inside = column.ge(0).logical_and_(column.lt(slice.end - slice.begin));
  return {column.clamp(0, slice.end - slice.begin - 1), inside};
}

// sum += a @ b; in place where the types are equal.
void add_product(const at::Tensor& sum, const at::Tensor& a, const at::Tensor& b) {
  if (sum.scalar_type() == a.scalar_type())
    sum.addmm_(a, b);
  else
    sum.add_(at::mm(a, b));
}

struct RowStatistics {
  at::Tensor log_sum_exp;  // [M] fp32
  at::Tensor label_logit;  // [M] fp32
};

RowStatistics row_statistics(const at::Tensor& hidden, const at::Tensor& weight,
                             const at::Tensor& labels, const LossOptions& options) {
  const int64_t rows = hidden.size(0);
  const auto fp32 = at::TensorOptions(at::kFloat).device(hidden.device());
  at::Tensor largest = at::full({rows}, -std::numeric_limits<float>::infinity(), fp32);
  at::Tensor sum = at::zeros({rows}, fp32);  // of exp(logit - largest)
  at::Tensor label_logit = at::zeros({rows}, fp32);
  for_slices(hidden, weight, {}, options, [&](Slice& slice) {
    const auto [column, inside] = labels_in(slice, labels);
    const at::Tensor own = slice.logits.gather(1, column.unsqueeze(1)).squeeze(1);
    label_logit = at::where(inside, own, label_logit);
    const at::Tensor higher = at::maximum(largest, slice.logits.amax(1));
    sum.mul_((largest - higher).exp_());
    sum.add_(slice.logits.sub_(higher.unsqueeze(1)).exp_().sum(1));
    largest = higher;
  });
  return {largest + sum.log(), label_logit};
}

}  // namespace

Loss linear_cross_entropy(const LossRequest& request, const LossOptions& options) {
  const at::NoGradGuard no_grad;
  const at::Tensor& hidden = request.hidden;
  const at::Tensor& weight = request.weight;
  const at::Tensor& labels = request.labels;
  const at::Tensor& weight_gradient = request.weight_gradient;
  const bool wants_hidden = request.hidden_gradient;
  Loss loss;
  if (hidden.size(0) == 0) {
    if (wants_hidden) loss.hidden_gradient = at::zeros_like(hidden);
    return loss;
  }
  const RowStatistics rows = row_statistics(hidden, weight, labels, options);
  loss.sum = (rows.log_sum_exp - rows.label_logit).sum(at::kDouble).item<double>();
  if (!wants_hidden && !weight_gradient.defined()) return loss;

  at::Tensor gradient = at::zeros(hidden.sizes(), hidden.options().dtype(at::kFloat));
  for_slices(hidden, weight, weight_gradient, options, [&](Slice& slice) {
    // d loss / d logits = (softmax - one-hot) * scale
    at::Tensor& p = slice.logits;
    p.sub_(rows.log_sum_exp.unsqueeze(1)).exp_();
    const auto [column, inside] = labels_in(slice, labels);
    p.scatter_add_(1, column.unsqueeze(1), inside.to(at::kFloat).neg_().unsqueeze(1));
    const at::Tensor d_logits = p.mul_(request.scale).to(hidden.scalar_type());
    if (wants_hidden) gradient.add_(at::mm(d_logits, slice.weight));
    if (weight_gradient.defined())
      add_product(weight_gradient.slice(0, slice.begin, slice.end), d_logits.t(), hidden);
  });
  if (wants_hidden) loss.hidden_gradient = gradient.to(hidden.scalar_type());
  return loss;
}

at::Tensor label_log_probabilities(const at::Tensor& hidden, const at::Tensor& weight,
                                   const at::Tensor& labels, const LossOptions& options) {
  const at::NoGradGuard no_grad;
  const RowStatistics rows = row_statistics(hidden, weight, labels, options);
  return rows.label_logit - rows.log_sum_exp;
}

}  // namespace lowmem::loss
