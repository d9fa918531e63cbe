#include "lowmem/eval/hellaswag.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "lowmem/core/error.h"
#include "lowmem/engine/memory_meter.h"

namespace lowmem::eval {
namespace {

// The first of the largest.
size_t argmax(const std::array<double, 4>& values) {
  return static_cast<size_t>(std::max_element(values.begin(), values.end()) -
                             values.begin());
}

RowScore judge(int64_t index, int label, const double* log_likelihoods,
               const std::array<int64_t, 4>& characters) {
  RowScore score{index, label, {}, false, false};
  std::array<double, 4> per_character{};
  for (size_t i = 0; i < 4; ++i) {
    score.log_likelihoods[i] = log_likelihoods[i];
    per_character[i] =
        log_likelihoods[i] / static_cast<double>(std::max<int64_t>(1, characters[i]));
  }
  score.acc = argmax(score.log_likelihoods) == static_cast<size_t>(label);
  score.acc_norm = argmax(per_character) == static_cast<size_t>(label);
  return score;
}

}  // namespace

HellaSwag::HellaSwag(const std::vector<HellaSwagRow>& rows, const Tokenizer& tokenizer,
                     bool bos, int64_t batch_size, int64_t max_length)
    : batch_size_(static_cast<size_t>(batch_size)) {
  for (const HellaSwagRow& source : rows) {
    const EvalItem item = eval_item(source);
    Row row{item.index, item.label, {}};
    for (size_t i = 0; i < 4; ++i) {
      ScoredText text = encode_choice(tokenizer, item.query, item.choices[i], bos);
      // The last token is predicted, never read, hence the one more.
      const auto surplus = static_cast<int64_t>(text.ids.size()) - (max_length + 1);
      if (surplus > 0) {
        text.ids.erase(text.ids.begin(), text.ids.begin() + surplus);
        text.context = std::max<int64_t>(1, text.context - surplus);
      }
      row.endings[i] = {std::move(text.ids), text.context,
                        choice_length(item.choices[i])};
    }
    rows_.push_back(std::move(row));
  }
}

int64_t HellaSwag::tokens() const {
  int64_t total = 0;
  for (const Row& row : rows_)
    for (const Ending& ending : row.endings)
      total += static_cast<int64_t>(ending.ids.size()) - 1;
  return total;
}

HellaSwagResult HellaSwag::run(const model::Llama& model,
                               const loss::LossOptions& options) const {
  const engine::PhaseScope phase(engine::Phase::kEvaluate);
  const at::NoGradGuard no_grad;
  HellaSwagResult result;
  for (size_t at = 0; at < rows_.size(); at += batch_size_) {
    const auto rows =
        std::span(rows_).subspan(at, std::min(batch_size_, rows_.size() - at));
    const std::vector<double> scores = score(model, rows, options);
    for (size_t i = 0; i < rows.size(); ++i) {
      std::array<int64_t, 4> characters{};
      for (size_t k = 0; k < 4; ++k) characters[k] = rows[i].endings[k].characters;
      result.rows.push_back(
          judge(rows[i].index, rows[i].label, &scores[4 * i], characters));
    }
  }
  Accuracy& accuracy = result.accuracy;
  for (const RowScore& row : result.rows) {
    accuracy.acc += row.acc;
    accuracy.acc_norm += row.acc_norm;
    ++accuracy.count;
  }
  accuracy.acc /= static_cast<double>(std::max<int64_t>(1, accuracy.count));
  accuracy.acc_norm /= static_cast<double>(std::max<int64_t>(1, accuracy.count));
  return result;
}

// The log-likelihoods of four endings a row, in order.
std::vector<double> HellaSwag::score(const model::Llama& model, std::span<const Row> rows,
                                     const loss::LossOptions& options) const {
  std::vector<std::span<const int32_t>> sequences;
  std::vector<int64_t> positions, labels, ending_of;
  int64_t start = 0;
  for (const Row& row : rows)
    for (const Ending& ending : row.endings) {
      const auto read = static_cast<int64_t>(ending.ids.size()) - 1;
      for (int64_t i = ending.context - 1; i < read; ++i) {
        positions.push_back(start + i);
        labels.push_back(ending.ids[static_cast<size_t>(i) + 1]);
        ending_of.push_back(static_cast<int64_t>(sequences.size()));
      }
      sequences.push_back(std::span(ending.ids).first(static_cast<size_t>(read)));
      start += read;
    }

  const model::Packed packed = model.pack(sequences);
  const auto on_device = [&](const std::vector<int64_t>& values) {
    return at::tensor(values, at::kLong).to(model.device());
  };
  const at::Tensor scored =
      model.norm(model.hidden_states(packed).index_select(0, on_device(positions)));
  const at::Tensor log_probabilities =
      loss::label_log_probabilities(scored, model.head(), on_device(labels), options);
  const at::Tensor sums = at::zeros({static_cast<int64_t>(sequences.size())}, at::kDouble)
                              .index_add_(0, at::tensor(ending_of, at::kLong),
                                          log_probabilities.to(at::kDouble).cpu());
  const double* data = sums.const_data_ptr<double>();
  return {data, data + sequences.size()};
}

}  // namespace lowmem::eval
