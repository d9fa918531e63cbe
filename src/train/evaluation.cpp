#include "lowmem/train/evaluation.h"

namespace lowmem::train {

Scores EvaluationResult::scores() const {
  Scores scores;
  if (hellaswag) scores.accuracy = hellaswag->accuracy;
  scores.likelihood = likelihood;
  return scores;
}

EvaluationResult Evaluation::run(const model::Llama& model,
                                 const loss::LossOptions& options, int64_t most_tokens,
                                 const std::function<void()>& between) const {
  EvaluationResult result;
  if (hellaswag) result.hellaswag = hellaswag->run(model, options, most_tokens, between);
  if (perplexity)
    result.likelihood = perplexity->run(model, options, most_tokens, between);
  return result;
}

int64_t Evaluation::tokens() const {
  return (hellaswag ? hellaswag->tokens() : 0) + (perplexity ? perplexity->tokens() : 0);
}

}  // namespace lowmem::train
