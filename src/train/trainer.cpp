#include "lowmem/train/trainer.h"

#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "lowmem/core/error.h"
#include "lowmem/core/log.h"
#include "lowmem/core/units.h"
#include "lowmem/engine/memory_meter.h"
#include "lowmem/io/atomic_file.h"
#include "lowmem/metrics/sinks.h"
#include "lowmem/model/hf_weights.h"
#include "lowmem/train/out_of_memory.h"
#include "window.h"

namespace lowmem::train {
namespace {

// So many steps without a finite loss and gradients: the weights are beyond recovery.
constexpr int64_t kMostNonfiniteInARow = 20;

class Clock {
 public:
  double seconds() const {
    const auto now = std::chrono::steady_clock::now();
    return std::chrono::duration<double>(now - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

class Trainer {
 public:
  explicit Trainer(const RunConfig& config)
      : folder_(config), session_(config), total_steps_(session_.total_steps()) {
    folder_.prepare(config);
    sinks_.push_back(metrics::jsonl_sink(folder_.metrics()));
    sinks_.push_back(metrics::log_sink(total_steps_));
  }

  Results run() {
    try {
      return train();
    } catch (const std::exception& failure) {
      const std::string asked = asked_of(failure);
      if (asked.empty()) throw;
      throw out_of_memory(session_.config(),
                          {session_.weight_bytes(), session_.optimizer_bytes()}, asked);
    }
  }

 private:
  // A GPU works on one step while the next is put on its stream, and only then is the
  // first one's result looked at. What is to be logged is waited for.
  Results train() {
    const RunConfig& config = session_.config();
    if (session_.evaluation()) results_.before = evaluate();
    while (step_ < total_steps_) {
      const int64_t next = step_ + (under_way_ ? 2 : 1);
      const bool logged = next % config.train.log_every == 0 || next == total_steps_;
      if (!under_way_) lap_ = Clock();
      engine::PendingStep begun =
          session_.begin_step(next - 1, /*report_rounding=*/logged);
      if (under_way_) finish(*std::exchange(under_way_, std::nullopt));
      if (!logged && !evaluation_due(next) && !session_.device().is_cpu()) {
        under_way_ = std::move(begun);
        continue;
      }
      finish(std::move(begun));
      if (logged) report();
      if (evaluation_due(step_) && step_ < total_steps_) record_epoch(evaluate());
    }
    if (session_.evaluation() && total_steps_ > 0) {
      results_.after = evaluate();
      if (evaluation_due(step_)) record_epoch(*results_.after);
    }
    save();
    return results_;
  }

  double epoch() const {
    return static_cast<double>(step_) / static_cast<double>(session_.steps_per_epoch());
  }

  void finish(engine::PendingStep step) {
    const engine::StepResult result = step.wait();
    answer_nonfinite(result);
    if (result.finite_loss()) window_.add(result, lap_.seconds());
    lap_ = Clock();
    ++step_;
  }

  bool evaluation_due(int64_t step) const {
    const Interval& every = session_.config().eval.every;
    if (!session_.evaluation() || every.unit == Interval::Unit::kNever) return false;
    const int64_t steps =
        every.unit == Interval::Unit::kEpoch ? session_.steps_per_epoch() : every.steps;
    return step % steps == 0;
  }

  // Nothing that is not finite has been written to a parameter.
  void answer_nonfinite(const engine::StepResult& result) {
    const auto& parameters = result.gradients.nonfinite;
    if (result.finite_loss() && parameters.empty()) {
      nonfinite_in_a_row_ = 0;
      return;
    }
    const RunConfig& config = session_.config();
    std::string what = "the loss is not finite";
    if (result.finite_loss()) {
      what = "the gradient of " + parameters.front() + " is not finite";
      if (parameters.size() > 1)
        what += ", nor those of " + std::to_string(parameters.size() - 1) + " more";
    }
    const std::string step = "step " + std::to_string(step_ + 1);
    const bool stop = config.train.on_nonfinite == NonfiniteMode::kStop;
    if (++nonfinite_in_a_row_ == kMostNonfiniteInARow || stop) {
      if (window_.steps() > 0) report();
      const std::string before = stop ? ""
                                      : ", nor was any of the " +
                                            std::to_string(kMostNonfiniteInARow - 1) +
                                            " steps before";
      throw Error(step, what + before,
                  std::string("Use a smaller optimizer.lr, a warm-up or "
                              "optimizer.clip_norm") +
                      (stop ? ", or set train.on_nonfinite = skip" : "") +
                      "; no model was written");
    }
    ++results_.nonfinite_steps;
    const bool whole = !result.finite_loss() || config.optimizer.clip_norm > 0;
    log::warn(step + ": " + what + "; " + (whole ? "the step" : "its update") +
              " is skipped");
  }

  eval::Accuracy evaluate() {
    const Clock clock;
    const eval::HellaSwagResult result = session_.evaluate();
    write_evaluation(folder_.evaluation(step_), result);
    const auto& [acc, acc_norm, count] = result.accuracy;
    for (const auto& sink : sinks_)
      sink->evaluation({step_, epoch(), acc, acc_norm, count, clock.seconds()});
    return result.accuracy;
  }

  void record_epoch(const eval::Accuracy& accuracy) {
    results_.epochs.push_back({epoch(), step_, accuracy});
  }

  void report() {
    metrics::StepRecord record = window_.take();
    record.step = step_;
    record.epoch = epoch();
    record.lr = session_.lr(step_ - 1);
    record.peak_bytes = engine::memory_meter::take_peak();
    record.rss_bytes = engine::memory_meter::resident_bytes();
    for (const auto& sink : sinks_) sink->step(record);
    results_.final_loss = record.loss;
    results_.examples += record.examples;
    results_.tokens += record.tokens;
    results_.training_seconds +=
        record.step_seconds * static_cast<double>(window_.last_steps());
  }

  void save() {
    {
      const engine::PhaseScope phase(engine::Phase::kSave);
      model::save_model(session_.model(), session_.config().model.path, folder_.model());
    }
    results_.status = "finished";
    results_.steps = step_;
    results_.seconds = clock_.seconds();
    write_file_atomically(folder_.results(), results_.to_json().dump(2) + "\n");
    log::info("wrote " + folder_.path().string() + " after " +
              format_seconds(results_.seconds));
  }

  Clock clock_;
  RunFolder folder_;  // first: it refuses before anything is loaded
  Session session_;
  int64_t total_steps_;
  int64_t step_ = 0;  // finished
  std::optional<engine::PendingStep> under_way_;
  Clock lap_;  // since the last one was
  int64_t nonfinite_in_a_row_ = 0;
  Window window_;
  Results results_;
  std::vector<std::unique_ptr<metrics::Sink>> sinks_;
};

}  // namespace

Results train(const RunConfig& config) { return Trainer(config).run(); }

}  // namespace lowmem::train
