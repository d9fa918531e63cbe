#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "lowmem/data/example.h"
#include "lowmem/engine/walk.h"
#include "lowmem/loss/linear_cross_entropy.h"

namespace lowmem::eval {

struct Batch;

struct Likelihood {
  double loss = 0;     // mean negative log-likelihood of a labelled token
  int64_t tokens = 0;  // with a label

  double perplexity() const;  // exp(loss)
};

// How well a model predicts the labelled tokens of held-out sequences. Each run reads
// every sequence once, some at a time, without padding. Logits are made only for labelled
// tokens, and a slice of the vocabulary at a time. Sums are in fp64 and in the order of
// the sequences.
class Perplexity {
 public:
  // Each example has a label.
  Perplexity(std::vector<Example> examples, int64_t batch_size);

  // At most `batch_size` sequences at once, and `most_tokens` tokens unless one has more.
  // `between` is called before each of these batches, and may throw to end the run.
  Likelihood run(const engine::Walk& walk, const loss::LossOptions& options,
                 int64_t most_tokens, const std::function<void()>& between = {}) const;
  // The batches of a run that need most memory, for a rehearsal.
  void rehearse(const engine::Walk& walk, const loss::LossOptions& options,
                int64_t most_tokens) const;

  int64_t sequences() const { return static_cast<int64_t>(examples_.size()); }
  // Tokens that a run feeds to the model.
  int64_t tokens() const;

 private:
  std::vector<Batch> batches(int64_t most_tokens) const;
  double negative_log_likelihood(const engine::Walk& walk,
                                 std::span<const Example> examples,
                                 const loss::LossOptions& options) const;

  std::vector<Example> examples_;
  size_t batch_size_;
};

}  // namespace lowmem::eval
