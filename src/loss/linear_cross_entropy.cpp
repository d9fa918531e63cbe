#include "lowmem/loss/linear_cross_entropy.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <limits>

#include "lowmem/kernels/cross_entropy.h"
#include "lowmem/memory/rehearsal.h"
#include "lowmem/ops/device.h"
#include "lowmem/ops/elements.h"
#include "lowmem/ops/large.h"

namespace lowmem::loss {
namespace {

// A slice of the vocabulary and its logits.
struct Slice {
  int64_t begin, end;
  at::Tensor weight;  // [end - begin, D] in the compute type
  at::Tensor logits;  // [M, end - begin] in the compute type
};

// Classes, of the vocabulary.
struct Range {
  int64_t begin, end;
};

// Calls f(slice) over a range of whole slices, or over the whole vocabulary. All slices
// share one buffer of logits.
template <class F>
void for_slices(const LossRequest& request, const LossOptions& options, Range range,
                F&& f) {
  const at::Tensor& hidden = request.hidden;
  const ops::MatrixRows& weight = request.weight;
  const int64_t rows = rows_of_slice(request, options);
  const at::Tensor buffer = at::empty({hidden.size(0) * rows}, hidden.options());
  // One slice takes what another does: of very many, a rehearsal needs no more.
  constexpr int64_t kRehearsed = 256;
  const int64_t end = memory::rehearsing()
                          ? std::min(range.end, range.begin + kRehearsed * rows)
                          : range.end;
  for (int64_t begin = range.begin; begin < end; begin += rows) {
    Slice slice{begin, std::min(range.end, begin + rows), {}, {}};
    const int64_t columns = slice.end - slice.begin;
    slice.weight =
        ops::converted(weight.slice(slice.begin, slice.end), hidden.scalar_type());
    slice.logits = buffer.slice(0, 0, hidden.size(0) * columns).view({-1, columns});
    ops::product_into(slice.logits, hidden, slice.weight.t());
    f(slice);
  }
}
template <class F>
void for_slices(const LossRequest& request, const LossOptions& options, F&& f) {
  for_slices(request, options, {0, request.weight.size(0)}, f);
}

kernels::LogitSlice kernel_slice(Slice& slice, const at::Tensor& labels) {
  return {ops::array_of(slice.logits), slice.logits.size(1), slice.begin,
          labels.const_data_ptr<int64_t>()};
}

// What is known of each row after some slices, all [M] fp32.
struct Softmax {
  explicit Softmax(const at::Tensor& hidden)
      : largest(at::full({hidden.size(0)}, -std::numeric_limits<float>::infinity(),
                         hidden.options().dtype(at::kFloat))),
        sum(at::zeros_like(largest)),
        label_logit(at::zeros_like(largest)),
        factor(at::zeros_like(largest)) {}

  void take(Slice& slice, const at::Tensor& labels, bool exponentials) {
    const kernels::LogitSlice logits = kernel_slice(slice, labels);
    const kernels::SoftmaxRows rows{ops::floats_of(largest), ops::floats_of(sum),
                                    ops::floats_of(label_logit), ops::floats_of(factor)};
    const int64_t count = largest.size(0);
    if (ops::on_device(largest))
      return kernels::cuda::softmax_slice(logits, rows, exponentials, count,
                                          ops::stream_of(largest));
    ops::parallel(count, ops::rows_of_grain(logits.columns),
                  [&](int64_t begin, int64_t end) {
                    kernels::softmax_slice(logits, rows, exponentials, begin, end);
                  });
  }

  at::Tensor log_sum_exp() const { return largest + sum.log(); }

  at::Tensor largest, sum, label_logit, factor;
};

// kernels::cross_entropy_gradient() of all rows.
void put_gradient(const kernels::LogitSlice& logits, const at::Tensor& log_sum_exp,
                  float scale) {
  const int64_t rows = log_sum_exp.size(0);
  const float* known = log_sum_exp.const_data_ptr<float>();
  if (ops::on_device(log_sum_exp))
    return kernels::cuda::cross_entropy_gradient(logits, known, scale, rows,
                                                 ops::stream_of(log_sum_exp));
  ops::parallel(rows, ops::rows_of_grain(logits.columns),
                [&](int64_t begin, int64_t end) {
                  kernels::cross_entropy_gradient(logits, known, scale, begin, end);
                });
}

}  // namespace

int64_t rows_of_slice(const LossRequest& request, const LossOptions& options) {
  const at::Tensor& hidden = request.hidden;
  const ops::MatrixRows& weight = request.weight;
  if (!options.chunked) return weight.size(0);
  const int64_t element = hidden.element_size();
  int64_t row_bytes = hidden.size(0) * element;
  // A cast slice of the weight, or of its gradient.
  if (weight.scalar_type() != hidden.scalar_type()) row_bytes += weight.size(1) * element;
  int64_t rows =
      std::max(options.least_classes,
               std::min(options.chunk_bytes / std::max<int64_t>(1, row_bytes),
                        options.weight_bytes / (weight.size(1) * weight.element_size())));
  // Rows of logits begin at whole cache lines, which matrix products are faster with.
  constexpr int64_t kAligned = 64;
  if (rows > kAligned) rows -= rows % kAligned;
  return std::clamp<int64_t>(rows, 1, weight.size(0));
}

Loss linear_cross_entropy(const LossRequest& request, bool hidden_gradient,
                          const LossOptions& options) {
  const at::NoGradGuard no_grad;
  const at::Tensor& hidden = request.hidden;
  Loss loss;
  if (hidden.size(0) == 0) {
    loss.log_sum_exp = at::zeros({0}, hidden.options().dtype(at::kFloat));
    loss.sum = at::zeros({}, hidden.options().dtype(at::kDouble));
    if (hidden_gradient) loss.hidden_gradient = at::zeros_like(hidden);
    return loss;
  }
  Softmax softmax(hidden);
  at::Tensor mean;  // of the weight's rows, times the sum of exponentials
  if (hidden_gradient)
    mean = at::zeros(hidden.sizes(), hidden.options().dtype(at::kFloat));
  for_slices(request, options, [&](Slice& slice) {
    softmax.take(slice, request.labels, hidden_gradient);
    if (!hidden_gradient) return;
    mean.mul_(softmax.factor.unsqueeze(1));
    if (hidden.scalar_type() == at::kFloat)
      ops::add_product(mean, slice.logits, slice.weight);
    else
      mean.add_(ops::product(slice.logits, slice.weight));
  });
  loss.log_sum_exp = softmax.log_sum_exp();
  loss.sum = (loss.log_sum_exp - softmax.label_logit).sum(at::kDouble);
  if (hidden_gradient)
    loss.hidden_gradient =
        mean.div_(softmax.sum.unsqueeze(1))
            .sub_(request.weight.index_select(request.labels).to(hidden.scalar_type()))
            .mul_(request.scale)
            .to(hidden.scalar_type());
  return loss;
}

at::Tensor head_gradient(const LossRequest& request, const at::Tensor& log_sum_exp,
                         const LossOptions& options) {
  return head_gradient_rows(request, log_sum_exp, options, 0, request.weight.size(0));
}

at::Tensor head_gradient_rows(const LossRequest& request, const at::Tensor& log_sum_exp,
                              const LossOptions& options, int64_t first, int64_t last) {
  const at::NoGradGuard no_grad;
  const at::Tensor& hidden = request.hidden;
  const std::array<int64_t, 2> shape{last - first, request.weight.size(1)};
  if (hidden.size(0) == 0) return at::zeros(shape, request.weight.options());
  at::Tensor gradient;
  {
    const memory::Scope item(memory::Item::kGradients);
    gradient = at::empty(shape, request.weight.options());
  }
  for_slices(request, options, {first, last}, [&](Slice& slice) {
    slice.weight.reset();  // its cast makes room for the gradient's
    const kernels::LogitSlice logits = kernel_slice(slice, request.labels);
    put_gradient(logits, log_sum_exp, request.scale);
    at::Tensor part = gradient.slice(0, slice.begin - first, slice.end - first);
    if (part.scalar_type() == hidden.scalar_type())
      ops::product_into(part, slice.logits.t(), hidden);
    else
      ops::convert_into(part, ops::product(slice.logits.t(), hidden));
  });
  return gradient;
}

at::Tensor label_log_probabilities(const at::Tensor& hidden,
                                   const ops::MatrixRows& weight,
                                   const at::Tensor& labels, const LossOptions& options) {
  const at::NoGradGuard no_grad;
  Softmax softmax(hidden);
  for_slices({hidden, weight, labels}, options,
             [&](Slice& slice) { softmax.take(slice, labels, /*exponentials=*/false); });
  return softmax.label_logit - softmax.log_sum_exp();
}

}  // namespace lowmem::loss
