#include "lowmem/train/evaluation.h"

namespace lowmem::train {

Scores EvaluationResult::scores() const {
  Scores scores;
  if (hellaswag) scores.accuracy = hellaswag->accuracy;
  scores.likelihood = likelihood;
  return scores;
}

EvaluationResult Evaluation::run(const engine::Walk& walk,
                                 const loss::LossOptions& options, int64_t most_tokens,
                                 const std::function<void()>& between) const {
  EvaluationResult result;
  if (hellaswag) result.hellaswag = hellaswag->run(walk, options, most_tokens, between);
  if (perplexity)
    result.likelihood = perplexity->run(walk, options, most_tokens, between);
  return result;
}

void Evaluation::rehearse(const engine::Walk& walk, const loss::LossOptions& options,
                          int64_t most_tokens) const {
  if (hellaswag) hellaswag->rehearse(walk, options, most_tokens);
  if (perplexity) perplexity->rehearse(walk, options, most_tokens);
}

int64_t Evaluation::tokens() const {
  return (hellaswag ? hellaswag->tokens() : 0) + (perplexity ? perplexity->tokens() : 0);
}

}  // namespace lowmem::train
