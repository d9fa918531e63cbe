#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "lowmem/data/hellaswag.h"
#include "lowmem/loss/linear_cross_entropy.h"
#include "lowmem/model/llama.h"
#include "lowmem/tokenizer/tokenizer.h"

namespace lowmem::eval {

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
// scores every row, `batch_size` rows of four sequences at a time, without padding, and
// makes logits only for the endings' tokens.
class HellaSwag {
 public:
  // `bos`: whether the query begins with BOS. Sequences longer than `max_length` tokens
  // lose their beginning, as in the harness.
  HellaSwag(const std::vector<HellaSwagRow>& rows, const Tokenizer& tokenizer, bool bos,
            int64_t batch_size, int64_t max_length);

  HellaSwagResult run(const model::Llama& model, const loss::LossOptions& options) const;

  int64_t rows() const { return static_cast<int64_t>(rows_.size()); }
  // Tokens that a run feeds to the model.
  int64_t tokens() const;

 private:
  struct Ending {
    std::vector<int32_t> ids;  // query and ending
    int64_t context = 0;       // of which this many are the query
    int64_t characters = 0;    // of the ending
  };
  struct Row {
    int64_t index;
    int label;
    std::array<Ending, 4> endings;
  };

  std::vector<double> score(const model::Llama& model, std::span<const Row> rows,
                            const loss::LossOptions& options) const;

  std::vector<Row> rows_;
  size_t batch_size_;
};

}  // namespace lowmem::eval
