#include "lowmem/eval/perplexity.h"

#include <ATen/ATen.h>

#include <cmath>
#include <utility>

#include "batches.h"
#include "lowmem/core/error.h"
#include "lowmem/memory/rehearsal.h"
#include "lowmem/memory/scope.h"
#include "lowmem/metrics/progress.h"
#include "lowmem/ops/device.h"

namespace lowmem::eval {

double Likelihood::perplexity() const { return std::exp(loss); }

Perplexity::Perplexity(std::vector<Example> examples, int64_t batch_size)
    : examples_(std::move(examples)), batch_size_(static_cast<size_t>(batch_size)) {}

int64_t Perplexity::tokens() const {
  int64_t total = 0;
  for (const Example& example : examples_)
    total += static_cast<int64_t>(example.ids.size());
  return total;
}

std::vector<Batch> Perplexity::batches(int64_t most_tokens) const {
  return batches_of(examples_.size(), batch_size_, most_tokens, [&](size_t i) {
    return static_cast<int64_t>(examples_[i].ids.size());
  });
}

void Perplexity::rehearse(const engine::Walk& walk, const loss::LossOptions& options,
                          int64_t most_tokens) const {
  const memory::Scope phase(memory::Phase::kEvaluate);
  const at::NoGradGuard no_grad;
  for (const Batch& batch : largest(
           batches(most_tokens),
           [&](size_t i) { return static_cast<int64_t>(examples_[i].ids.size()); },
           [&](size_t i) { return examples_[i].labelled(); }))
    negative_log_likelihood(
        walk, std::span(examples_).subspan(batch.begin, batch.end - batch.begin),
        options);
}

Likelihood Perplexity::run(const engine::Walk& walk, const loss::LossOptions& options,
                           int64_t most_tokens,
                           const std::function<void()>& between) const {
  const memory::Scope phase(memory::Phase::kEvaluate);
  const at::NoGradGuard no_grad;
  metrics::Progress progress("evaluating perplexity", sequences());
  Likelihood result;
  for (const auto& [begin, end] : batches(most_tokens)) {
    if (between) between();
    const auto batch = std::span(examples_).subspan(begin, end - begin);
    for (const Example& example : batch) result.tokens += example.labelled();
    result.loss += negative_log_likelihood(walk, batch, options);
    progress.add(static_cast<int64_t>(batch.size()));
  }
  result.loss /= static_cast<double>(std::max<int64_t>(1, result.tokens));
  return result;
}

double Perplexity::negative_log_likelihood(const engine::Walk& walk,
                                           std::span<const Example> examples,
                                           const loss::LossOptions& options) const {
  const model::Llama& model = walk.model();
  std::vector<model::Sequence> sequences;
  std::vector<int64_t> positions, labels;  // of tokens that have a label
  int64_t at = 0;
  for (const Example& example : examples) {
    sequences.push_back({example.ids, {}});
    for (const int32_t label : example.labels) {
      if (label != kIgnoreLabel) {
        positions.push_back(at);
        labels.push_back(label);
      }
      ++at;
    }
  }
  const model::Packed packed = model.pack(sequences);
  const model::Rows wanted = model::select_rows(packed, positions);
  const at::Tensor hidden = walk.hidden_states(packed, &wanted);
  const auto leases = walk.borrow_top(engine::Access::kRead);
  const at::Tensor log_probabilities =
      loss::label_log_probabilities(
          model.norm(hidden), walk.head(),
          ops::to_device(at::tensor(labels, at::kLong), model.device()), options)
          .cpu();
  // One after the other: a sum over threads would depend on how many there are.
  double sum = 0;
  const float* values = log_probabilities.const_data_ptr<float>();
  for (size_t i = 0; i < labels.size(); ++i) sum -= static_cast<double>(values[i]);
  if (!std::isfinite(sum) && !memory::rehearsing())
    throw Error("the loss of eval.data", "is not finite",
                "Check the weights: the model computes no numbers");
  return sum;
}

}  // namespace lowmem::eval
