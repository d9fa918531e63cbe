#include "lowmem/eval/hellaswag.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "batches.h"
#include "lowmem/core/error.h"
#include "lowmem/data/examples.h"
#include "lowmem/memory/scope.h"
#include "lowmem/metrics/progress.h"
#include "lowmem/ops/device.h"

namespace lowmem::eval {
namespace {

// The first of the largest. An ending without a token of its own, of which nothing was
// predicted, does not win.
size_t argmax(std::array<double, 4> values, const std::array<bool, 4>& predicted) {
  for (size_t i = 0; i < 4; ++i)
    if (!predicted[i]) values[i] = -std::numeric_limits<double>::infinity();
  return static_cast<size_t>(std::max_element(values.begin(), values.end()) -
                             values.begin());
}

RowScore judge(int64_t index, int label, const double* log_likelihoods,
               const std::array<int64_t, 4>& characters,
               const std::array<bool, 4>& predicted) {
  RowScore score{index, label, {}, false, false};
  for (size_t i = 0; i < 4; ++i)
    if (!std::isfinite(log_likelihoods[i]))
      throw Error("HellaSwag row " + std::to_string(index),
                  "has a log-likelihood that is not finite",
                  "Check the weights: the model computes no numbers");
  std::array<double, 4> per_character{};
  for (size_t i = 0; i < 4; ++i) {
    score.log_likelihoods[i] = log_likelihoods[i];
    per_character[i] =
        log_likelihoods[i] / static_cast<double>(std::max<int64_t>(1, characters[i]));
  }
  score.acc = argmax(score.log_likelihoods, predicted) == static_cast<size_t>(label);
  score.acc_norm = argmax(per_character, predicted) == static_cast<size_t>(label);
  return score;
}

}  // namespace

HellaSwag::HellaSwag(const std::vector<HellaSwagRow>& rows, const Tokenizer& tokenizer,
                     bool bos, int64_t batch_size, int64_t max_length, bool share_query,
                     int64_t vocabulary)
    : batch_size_(static_cast<size_t>(batch_size)) {
  metrics::Progress progress("tokenizing rows to evaluate",
                             static_cast<int64_t>(rows.size()));
  for (const HellaSwagRow& source : rows) {
    progress.add();
    const EvalItem item = eval_item(source);
    Row row{item.index, item.label, {}, false};
    bool cut = false;
    for (size_t i = 0; i < 4; ++i) {
      ScoredText text = encode_choice(tokenizer, item.query, item.choices[i], bos);
      refuse_foreign_ids(text.ids, vocabulary, tokenizer,
                         "HellaSwag row " + std::to_string(item.index));
      // The last token is predicted, never read, hence the one more.
      const auto surplus = static_cast<int64_t>(text.ids.size()) - (max_length + 1);
      if (surplus > 0) {
        cut = true;
        text.ids.erase(text.ids.begin(), text.ids.begin() + surplus);
        text.context = std::max<int64_t>(1, text.context - surplus);
      }
      row.endings[i] = {std::move(text.ids), text.context,
                        choice_length(item.choices[i])};
    }
    cut_ += cut ? 1 : 0;
    row.shared = share_query && row.same_queries();
    rows_.push_back(std::move(row));
  }
}

int64_t HellaSwag::tokens() const {
  int64_t total = 0;
  for (const Row& row : rows_) total += row.tokens();
  return total;
}

bool HellaSwag::Row::same_queries() const {
  const Ending& first = endings.front();
  const auto query = std::span(first.ids).first(static_cast<size_t>(first.context));
  return std::all_of(endings.begin(), endings.end(), [&](const Ending& ending) {
    return ending.context == first.context &&
           std::equal(query.begin(), query.end(), ending.ids.begin());
  });
}

// The last token of an ending is predicted, never read.
int64_t HellaSwag::Row::tokens() const {
  int64_t total = 0;
  if (shared) total += endings.front().context;
  for (const Ending& ending : endings)
    if (ending.read() >= ending.context)
      total += ending.read() - (shared ? ending.context : 0);
  return total;
}

int64_t HellaSwag::Row::predicted() const {
  int64_t total = 0;
  for (const Ending& ending : endings)
    total += std::max<int64_t>(0, ending.read() - ending.context + 1);
  return total;
}

std::vector<Batch> HellaSwag::batches(int64_t most_tokens) const {
  return batches_of(rows_.size(), batch_size_, most_tokens,
                    [&](size_t i) { return rows_[i].tokens(); });
}

void HellaSwag::rehearse(const engine::Walk& walk, const loss::LossOptions& options,
                         int64_t most_tokens) const {
  const memory::Scope phase(memory::Phase::kEvaluate);
  const at::NoGradGuard no_grad;
  for (const Batch& batch : largest(
           batches(most_tokens), [&](size_t i) { return rows_[i].tokens(); },
           [&](size_t i) { return rows_[i].predicted(); }))
    score(walk, std::span(rows_).subspan(batch.begin, batch.end - batch.begin), options);
}

HellaSwagResult HellaSwag::run(const engine::Walk& walk, const loss::LossOptions& options,
                               int64_t most_tokens,
                               const std::function<void()>& between) const {
  const memory::Scope phase(memory::Phase::kEvaluate);
  const at::NoGradGuard no_grad;
  metrics::Progress progress("evaluating HellaSwag", static_cast<int64_t>(rows_.size()));
  HellaSwagResult result;
  for (const Batch& batch : batches(most_tokens)) {
    if (between) between();
    const auto rows = std::span(rows_).subspan(batch.begin, batch.end - batch.begin);
    const std::vector<double> scores = score(walk, rows, options);
    progress.add(static_cast<int64_t>(rows.size()));
    for (size_t i = 0; i < rows.size(); ++i) {
      std::array<int64_t, 4> characters{};
      std::array<bool, 4> predicted{};
      for (size_t k = 0; k < 4; ++k) {
        const Ending& ending = rows[i].endings[k];
        characters[k] = ending.characters;
        predicted[k] = ending.read() >= ending.context;
      }
      result.rows.push_back(
          judge(rows[i].index, rows[i].label, &scores[4 * i], characters, predicted));
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

// Rows laid end to end, and which token's hidden state predicts which label.
struct HellaSwag::Layout {
  std::vector<model::Sequence> sequences;
  std::vector<int64_t> positions;  // tokens that predict something, ascending
  std::vector<int64_t> place;      // of each prediction: its token's place in `positions`
  std::vector<int64_t> labels;     // of each prediction
  std::vector<int64_t> text_of;    // of each prediction: its text's number
  std::vector<int64_t> scores;     // of each ending: the number of its text
  int64_t tokens = 0, texts = 0;

  void add(const Row& row) {
    const bool shared = row.shared;
    const int64_t query_end = tokens + row.endings.front().context;
    if (shared) {
      sequences.push_back({row.endings.front().part(0, query_end - tokens), {}});
      tokens = query_end;
    }
    for (const Ending& ending : row.endings) {
      // Equal endings tie exactly: they are one text.
      const auto same = std::find_if(
          row.endings.begin(), row.endings.begin() + (&ending - row.endings.data()),
          [&](const Ending& other) {
            return other.ids == ending.ids && other.context == ending.context;
          });
      if (&*same != &ending) {
        const auto first = scores.end() - (&ending - &*same);
        scores.push_back(*first);
        continue;
      }
      const int64_t query = ending.context, read = ending.read();
      // Some tokenizers have no token for a blank ending: nothing to predict, certain.
      if (read < query) {
        scores.push_back(texts++);
        continue;
      }
      if (shared) {
        sequences.back().branches.push_back(ending.part(query, read));
      } else {
        sequences.push_back({ending.part(0, read), {}});
        tokens += query;
      }
      // The query's last token predicts the ending's first.
      predict((shared ? query_end : tokens) - 1, ending, query);
      for (int64_t i = query; i < read; ++i) predict(tokens + i - query, ending, i + 1);
      tokens += read - query;
      scores.push_back(texts++);
    }
  }

 private:
  void predict(int64_t token, const Ending& ending, int64_t label) {
    if (positions.empty() || positions.back() < token) positions.push_back(token);
    place.push_back(std::lower_bound(positions.begin(), positions.end(), token) -
                    positions.begin());
    labels.push_back(ending.ids[static_cast<size_t>(label)]);
    text_of.push_back(texts);
  }
};

// The log-likelihoods of four endings a row, in order.
std::vector<double> HellaSwag::score(const engine::Walk& walk, std::span<const Row> rows,
                                     const loss::LossOptions& options) const {
  const model::Llama& model = walk.model();
  Layout layout;
  for (const Row& row : rows) layout.add(row);
  const model::Packed packed = model.pack(layout.sequences);
  const model::Rows wanted = model::select_rows(packed, layout.positions);
  const auto on_device = [&](const std::vector<int64_t>& values) {
    return ops::to_device(at::tensor(values, at::kLong), model.device());
  };
  at::Tensor hidden = walk.hidden_states(packed, &wanted);
  const auto leases = walk.borrow_top(engine::Access::kRead);
  const at::Tensor scored =
      model.norm(std::exchange(hidden, {})).index_select(0, on_device(layout.place));
  const at::Tensor log_probabilities = loss::label_log_probabilities(
      scored, walk.head(), on_device(layout.labels), options);
  const at::Tensor sums = at::zeros({layout.texts}, at::kDouble)
                              .index_add_(0, at::tensor(layout.text_of, at::kLong),
                                          log_probabilities.to(at::kDouble).cpu())
                              .index_select(0, at::tensor(layout.scores, at::kLong));
  const double* data = sums.const_data_ptr<double>();
  return {data, data + layout.scores.size()};
}

}  // namespace lowmem::eval
