#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "lowmem/data/hellaswag.h"
#include "lowmem/engine/walk.h"
#include "lowmem/loss/linear_cross_entropy.h"
#include "lowmem/tokenizer/tokenizer.h"

namespace lowmem::eval {

struct Batch;

// One row: the log-likelihood of each ending after the query, and whether the likeliest,
// as it is and divided by the ending's characters, is the right one.
struct RowScore {
  int64_t index = 0;
  int label = 0;
  std::array<double, 4> log_likelihoods{};
  bool acc = false;
  bool acc_norm = false;
};

struct Accuracy {
  double acc = 0, acc_norm = 0;
  int64_t count = 0;  // rows
};

struct HellaSwagResult {
  Accuracy accuracy;
  std::vector<RowScore> rows;
};

// HellaSwag, zero-shot, by the rules of lm-evaluation-harness. Tokenizes once; each run
// scores every row, some rows at a time, without padding. Where the four endings follow
// the same tokens, which is nearly always, the query runs once and the endings attend to
// it. Logits are made only for the endings' tokens.
class HellaSwag {
 public:
  // Enough for full speed, where nothing else limits the memory.
  static constexpr int64_t kTokensAtOnce = 2048;

  // `bos`: whether the query begins with BOS. Sequences longer than `max_length` tokens
  // lose their beginning, as in the harness.
  // `share_query`: false runs the four endings as four texts, for comparison.
  // `vocabulary`: ids that the model has, 0 for the tokenizer's; Error for a row with
  // others.
  HellaSwag(const std::vector<HellaSwagRow>& rows, const Tokenizer& tokenizer, bool bos,
            int64_t batch_size, int64_t max_length, bool share_query = true,
            int64_t vocabulary = 0);

  // At most `batch_size` rows at once, and `most_tokens` tokens unless one row has more.
  // `between` is called before each of these batches, and may throw to end the run.
  HellaSwagResult run(const engine::Walk& walk, const loss::LossOptions& options,
                      int64_t most_tokens,
                      const std::function<void()>& between = {}) const;
  // The batches of a run that need most memory, for a rehearsal.
  void rehearse(const engine::Walk& walk, const loss::LossOptions& options,
                int64_t most_tokens) const;

  int64_t rows() const { return static_cast<int64_t>(rows_.size()); }
  // Tokens that a run feeds to the model.
  int64_t tokens() const;
  // Rows that have lost the beginning of a sequence.
  int64_t cut() const { return cut_; }

 private:
  struct Ending {
    std::vector<int32_t> ids;  // query and ending
    int64_t context = 0;       // of which this many are the query
    int64_t characters = 0;    // of the ending

    // Tokens that are read: the last is only predicted.
    int64_t read() const { return static_cast<int64_t>(ids.size()) - 1; }
    std::span<const int32_t> part(int64_t from, int64_t to) const {
      return std::span(ids).subspan(static_cast<size_t>(from),
                                    static_cast<size_t>(to - from));
    }
  };
  struct Row {
    int64_t index;
    int label;
    std::array<Ending, 4> endings;

    bool shared = false;  // whether the endings follow one query

    bool same_queries() const;
    int64_t tokens() const;
    int64_t predicted() const;
  };
  struct Layout;

  std::vector<Batch> batches(int64_t most_tokens) const;
  std::vector<double> score(const engine::Walk& walk, std::span<const Row> rows,
                            const loss::LossOptions& options) const;

  std::vector<Row> rows_;
  int64_t cut_ = 0;
  size_t batch_size_;
};

}  // namespace lowmem::eval
