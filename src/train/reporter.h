#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "lowmem/config/run_config.h"
#include "lowmem/metrics/sink.h"
#include "lowmem/train/run_folder.h"
#include "progress.h"

namespace lowmem::train {

// Where a run's numbers go: metrics.jsonl, TensorBoard, the log, the live line.
class Reporter {
 public:
  // How long the run is, in steps, and how often it evaluates (0: not in between).
  struct Course {
    int64_t total = 0, an_epoch = 1, evaluation_every = 0;
  };

  // Goes on after the first `metrics` bytes of metrics.jsonl, and step `step`.
  Reporter(const RunFolder& folder, const RunConfig& config, const Course& course,
           uintmax_t metrics, int64_t step);

  double epoch(int64_t step) const;

  // A step, on the live line.
  void moment(int64_t step, const engine::StepResult& result, double seconds) const;
  // The window's counts and means, which begin anew; they go into the results as well.
  void line(Progress& progress, double lr) const;
  void evaluation(int64_t step, const Scores& scores, double seconds) const;

 private:
  Course course_;
  std::vector<std::unique_ptr<metrics::Sink>> sinks_;
};

}  // namespace lowmem::train
