#pragma once

#include <functional>
#include <optional>

#include "lowmem/eval/hellaswag.h"
#include "lowmem/eval/perplexity.h"

namespace lowmem::train {

// What an evaluation has found, in two numbers a part. A part is there where eval.data
// has rows for it: HellaSwag, or rows of any other format.
struct Scores {
  std::optional<eval::Accuracy> accuracy;
  std::optional<eval::Likelihood> likelihood;
};

struct EvaluationResult {
  std::optional<eval::HellaSwagResult> hellaswag;
  std::optional<eval::Likelihood> likelihood;

  Scores scores() const;
};

// What eval.data asks of a model: at least one of the two.
struct Evaluation {
  std::optional<eval::HellaSwag> hellaswag;
  std::optional<eval::Perplexity> perplexity;

  // Both, HellaSwag first; see there for the arguments.
  EvaluationResult run(const engine::Walk& walk, const loss::LossOptions& options,
                       int64_t most_tokens,
                       const std::function<void()>& between = {}) const;
  // The batches of a run that need most memory, for a rehearsal.
  void rehearse(const engine::Walk& walk, const loss::LossOptions& options,
                int64_t most_tokens) const;
  // Tokens that a run feeds to the model.
  int64_t tokens() const;
};

}  // namespace lowmem::train
