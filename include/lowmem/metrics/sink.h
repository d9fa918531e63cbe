#pragma once

#include <cstdint>
#include <optional>

namespace lowmem::metrics {

// What a run tells about itself while it goes on. Counts and means are over the steps
// since the record before.
struct StepRecord {
  int64_t step = 0;  // updates done
  double epoch = 0;  // passes over the data done
  double loss = 0;   // mean negative log-likelihood of a labelled token
  double lr = 0;     // of the last update
  int64_t examples = 0, tokens = 0, labelled_tokens = 0;
  std::optional<double> grad_norm;  // of the last update, where it is known
  // Share of the last update's changes that rounding to nearest would have lost; only for
  // bf16 weights.
  std::optional<double> rounding_lost;
  // Of AdaLoRA: triplets that are left after the last update, of all layers, and the mean
  // of what orthogonality adds to the loss, which `loss` is without.
  std::optional<int64_t> adapter_rank;
  std::optional<double> orthogonality;
  double step_seconds = 0;  // mean
  double tokens_per_second = 0;
  // Means of a step, where weights come from elsewhere and go back there: what was moved,
  // and how much of step_seconds was spent waiting for it.
  struct Moved {
    int64_t read_bytes = 0, written_bytes = 0;
    double waited_seconds = 0;
  };
  std::optional<Moved> moved;
  int64_t peak_bytes = 0;
  int64_t rss_bytes = 0;
};

// Of rows with one right ending among several.
struct AccuracyRecord {
  double acc = 0, acc_norm = 0;
  int64_t count = 0;  // rows
};

// Of texts: how well their labelled tokens are predicted.
struct PerplexityRecord {
  double perplexity = 0;  // exp(loss)
  double loss = 0;        // mean negative log-likelihood of a labelled token, in nats
  int64_t tokens = 0;     // labelled ones
};

// An evaluation has an accuracy, a perplexity, or both.
struct EvaluationRecord {
  int64_t step = 0;
  double epoch = 0;
  std::optional<AccuracyRecord> accuracy;
  std::optional<PerplexityRecord> perplexity;
  double seconds = 0;
};

// One step, for a display that is rewritten as the run goes on.
struct Moment {
  int64_t step = 0;  // updates done
  double epoch = 0;
  double loss = 0;  // of this step alone; not finite where it was skipped
  int64_t tokens = 0;
  double seconds = 0;
  int64_t bytes = 0;       // of all tensors now
  int64_t peak_bytes = 0;  // the highest so far
};

// Where records go. One file a kind of sink; the trainer writes to all of them.
class Sink {
 public:
  virtual ~Sink() = default;
  virtual void step(const StepRecord& record) = 0;
  virtual void evaluation(const EvaluationRecord& record) = 0;
  // After every step, where the log is on a terminal (core/live_line.h).
  virtual void moment(const Moment&) {}
};

}  // namespace lowmem::metrics
