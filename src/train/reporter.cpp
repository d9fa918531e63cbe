#include "reporter.h"

#include <optional>

#include "lowmem/core/live_line.h"
#include "lowmem/memory/meter.h"
#include "lowmem/metrics/sinks.h"

namespace lowmem::train {

Reporter::Reporter(const RunFolder& folder, const RunConfig& config, const Course& course,
                   uintmax_t metrics, int64_t step)
    : course_(course) {
  sinks_.push_back(metrics::jsonl_sink(folder.metrics(), metrics));
  if (config.run.tensorboard)
    sinks_.push_back(metrics::tensorboard_sink(
        folder.path(), step > 0 ? std::optional(step + 1) : std::nullopt));
  sinks_.push_back(metrics::log_sink(course.total));
  sinks_.push_back(metrics::live_sink(course.total, course.evaluation_every));
}

double Reporter::epoch(int64_t step) const {
  return static_cast<double>(step) / static_cast<double>(course_.an_epoch);
}

void Reporter::moment(int64_t step, const engine::StepResult& result,
                      double seconds) const {
  if (!live_line::on()) return;
  const double loss = result.loss_sum / static_cast<double>(result.labelled);
  memory::Ledger& ledger = memory::device_ledger();
  for (const auto& sink : sinks_)
    sink->moment({step, epoch(step), loss, result.tokens, seconds, ledger.current(),
                  ledger.peak()});
}

void Reporter::line(Progress& progress, double lr) const {
  metrics::StepRecord record = progress.window.take();
  record.step = progress.step;
  record.epoch = epoch(progress.step);
  record.lr = lr;
  record.peak_bytes = memory::device_ledger().take_peak();
  record.rss_bytes = memory::resident_bytes();
  for (const auto& sink : sinks_) sink->step(record);
  Results& results = progress.results;
  results.final_loss = record.loss;
  if (!results.first_loss) results.first_loss = record.loss;
  results.examples += record.examples;
  results.tokens += record.tokens;
  results.training_seconds +=
      record.step_seconds * static_cast<double>(progress.window.last_steps());
}

void Reporter::evaluation(int64_t step, const Scores& scores, double seconds) const {
  metrics::EvaluationRecord record{step, epoch(step), {}, {}, seconds};
  if (const auto& a = scores.accuracy) record.accuracy = {a->acc, a->acc_norm, a->count};
  if (const auto& l = scores.likelihood)
    record.perplexity = {l->perplexity(), l->loss, l->tokens};
  for (const auto& sink : sinks_) sink->evaluation(record);
}

}  // namespace lowmem::train
