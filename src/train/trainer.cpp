#include "lowmem/train/trainer.h"

#include <chrono>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "lowmem/config/yaml.h"
#include "lowmem/core/error.h"
#include "lowmem/core/live_line.h"
#include "lowmem/core/log.h"
#include "lowmem/core/units.h"
#include "lowmem/io/atomic_file.h"
#include "lowmem/io/atomic_folder.h"
#include "lowmem/memory/meter.h"
#include "lowmem/metrics/sinks.h"
#include "lowmem/train/checkpoint.h"
#include "lowmem/train/fit.h"
#include "lowmem/train/out_of_memory.h"
#include "lowmem/weights/hf_folder.h"
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

// How long a file is on the disk; 0 where someone has taken it away.
uintmax_t synced_bytes(const std::filesystem::path& file) {
  std::error_code code;
  const uintmax_t bytes = std::filesystem::file_size(file, code);
  if (code) return 0;
  sync_file(file);
  return bytes;
}

using EventFiles = std::map<std::string, uintmax_t>;

struct Stopped {};  // thrown when the run is asked to end

class Trainer {
 public:
  Trainer(const RunConfig& config, const RunControl& control)
      : control_(control),
        folder_(config, control.resume),
        checkpoints_(folder_.checkpoints(), config.train.keep_checkpoints),
        from_(control.resume ? newest_checkpoint(config) : std::nullopt),
        session_(config, inputs_that_fit(config, from_ ? &*from_ : nullptr),
                 from_ ? &*from_ : nullptr),
        total_steps_(session_.total_steps()) {
    const bool goes_on = from_.has_value();
    uintmax_t metrics = 0;
    if (goes_on) {
      metrics = from_->state.metrics;
      load_progress();
    }
    folder_.prepare(config, goes_on);
    results_.skipped_rows = session_.skipped_rows();
    log::info(
        "training " + format_count(session_.table().trained_elements()) +
        " parameters for " + format_count(total_steps_, "step") +
        (goes_on ? ", " + format_count(total_steps_ - step_) + " of them to go" : ""));
    if (control_.begins) control_.begins();
    if (goes_on) metrics::restore_event_files(folder_.path(), events_);
    open_sinks(metrics);
  }

  Results run() {
    try {
      try {
        train();
      } catch (const Stopped&) {
        stop();
      }
    } catch (const std::exception& failure) {
      say_how_to_go_on();
      if (memory::asked_of(failure).empty()) throw;
      throw out_of_memory(session_.config(),
                          {session_.weight_bytes(), session_.optimizer_bytes()}, failure);
    }
    return results_;
  }

 private:
  void train() {
    if (session_.evaluation() && step_ == 0) results_.before = evaluate();
    evaluate_if_due();  // where the run was interrupted before that
    check_stop();
    while (step_ < total_steps_) {
      take_step();
      if (under_way_) continue;
      if (log_due(step_)) report();
      evaluate_if_due();
      if (save_due(step_)) checkpoint();
      check_stop();
    }
    if (session_.evaluation() && total_steps_ > 0) {
      results_.after = evaluate();
      if (evaluation_due(step_)) record_epoch(*results_.after);
    }
    save();
  }

  // A GPU works on one step while the next is put on its stream, and only then is the
  // first one's result looked at. Where a step's end is needed it is waited for.
  void take_step() {
    const int64_t next = step_ + (under_way_ ? 2 : 1);
    if (!under_way_) lap_ = Clock();
    engine::PendingStep begun =
        session_.begin_step(next - 1, /*report_rounding=*/log_due(next));
    if (under_way_) finish(*std::exchange(under_way_, std::nullopt));
    if (session_.device().is_cpu() || log_due(next) || evaluation_due(next) ||
        save_due(next) || stop_asked())
      finish(std::move(begun));
    else
      under_way_ = std::move(begun);
  }

  void open_sinks(uintmax_t metrics) {
    sinks_.push_back(metrics::jsonl_sink(folder_.metrics(), metrics));
    if (session_.config().run.tensorboard)
      sinks_.push_back(metrics::tensorboard_sink(
          folder_.path(), step_ > 0 ? std::optional(step_ + 1) : std::nullopt));
    sinks_.push_back(metrics::log_sink(total_steps_));
    sinks_.push_back(metrics::live_sink(total_steps_, evaluation_every()));
  }

  double epoch() const {
    return static_cast<double>(step_) / static_cast<double>(session_.steps_per_epoch());
  }

  void finish(engine::PendingStep step) {
    const engine::StepResult result = step.wait();
    answer_nonfinite(result);
    const double seconds = lap_.seconds();
    if (result.finite_loss()) window_.add(result, seconds);
    lap_ = Clock();
    ++step_;
    if (live_line::on()) show(result, seconds);
  }

  void show(const engine::StepResult& result, double seconds) {
    const double loss = result.loss_sum / static_cast<double>(result.labelled);
    for (const auto& sink : sinks_)
      sink->moment({step_, epoch(), loss, result.tokens, seconds,
                    memory::device_ledger().current(), memory::device_ledger().peak()});
  }

  bool log_due(int64_t step) const {
    return step % session_.config().train.log_every == 0 || step == total_steps_;
  }

  bool save_due(int64_t step) const {
    const int64_t every = session_.config().train.save_every;
    return every > 0 && step % every == 0;
  }

  bool stop_asked() const { return control_.stop && control_.stop(step_); }

  void check_stop() const {
    if (stop_asked()) throw Stopped();
  }

  // Steps between two evaluations; 0: none during training.
  int64_t evaluation_every() const {
    const Interval& every = session_.config().eval.every;
    if (!session_.evaluation()) return 0;
    return every.unit == Interval::Unit::kEpoch ? session_.steps_per_epoch()
                                                : every.steps;
  }

  bool evaluation_due(int64_t step) const {
    const int64_t every = evaluation_every();
    return every > 0 && step % every == 0;
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

  void evaluate_if_due() {
    const bool done = !results_.epochs.empty() && results_.epochs.back().step == step_;
    if (step_ > 0 && step_ < total_steps_ && evaluation_due(step_) && !done)
      record_epoch(evaluate());
  }

  Scores evaluate() {
    const Clock clock;
    const EvaluationResult result = session_.evaluate([this] { check_stop(); });
    if (result.hellaswag) write_evaluation(folder_.evaluation(step_), *result.hellaswag);
    const Scores scores = result.scores();
    metrics::EvaluationRecord record{step_, epoch(), {}, {}, clock.seconds()};
    if (const auto& a = scores.accuracy)
      record.accuracy = {a->acc, a->acc_norm, a->count};
    if (const auto& l = scores.likelihood)
      record.perplexity = {l->perplexity(), l->loss, l->tokens};
    for (const auto& sink : sinks_) sink->evaluation(record);
    return scores;
  }

  void record_epoch(const Scores& scores) {
    results_.epochs.push_back({epoch(), step_, scores});
  }

  void report() {
    metrics::StepRecord record = window_.take();
    record.step = step_;
    record.epoch = epoch();
    record.lr = session_.lr(step_ - 1);
    record.peak_bytes = memory::device_ledger().take_peak();
    record.rss_bytes = memory::resident_bytes();
    for (const auto& sink : sinks_) sink->step(record);
    results_.final_loss = record.loss;
    results_.examples += record.examples;
    results_.tokens += record.tokens;
    results_.training_seconds +=
        record.step_seconds * static_cast<double>(window_.last_steps());
  }

  double seconds() const { return seconds_before_ + clock_.seconds(); }

  std::optional<Checkpoint> newest_checkpoint(const RunConfig& config) const {
    auto found = checkpoints_.newest();
    if (found) {
      check_same_run(found->state.config, config);
      return found;
    }
    if (folder_.finished_steps() && !config.run.overwrite)
      throw Error(folder_.path().string(),
                  "holds a finished run without a checkpoint to go on from",
                  "Choose another run.name, or set run.overwrite = true to replace it");
    log::info(folder_.path().string() + " has no checkpoint: the run begins anew");
    return found;
  }

  void load_progress() {
    step_ = from_->state.step;
    if (step_ > total_steps_)
      throw Error("a run of " + format_count(total_steps_, "step"),
                  "would end before its checkpoint after step " + std::to_string(step_),
                  "Set train.epochs and train.max_steps to more");
    const nlohmann::json& saved = from_->state.progress;
    try {
      nonfinite_in_a_row_ = saved.at("nonfinite_in_a_row");
      window_ = Window::load(saved.at("window"));
      results_ = Results::load(saved.at("results"));
      events_ = saved.value("events", events_);
    } catch (const nlohmann::json::exception&) {
      throw Error(from_->folder.string(), "is of another version of the program",
                  "Go on with that version");
    }
    seconds_before_ = results_.seconds;
    log::info("goes on after step " + std::to_string(step_) + ", from " +
              from_->folder.string());
    saved_step_ = step_;
    from_.reset();
  }

  EventFiles synced_events() const {
    EventFiles events = metrics::event_files(folder_.path());
    for (auto& [name, bytes] : events) bytes = synced_bytes(folder_.path() / name);
    return events;
  }

  void checkpoint() {
    const memory::Scope phase(memory::Phase::kSave);
    results_.seconds = seconds();
    RunState state = session_.state();
    state.step = step_;
    state.metrics = synced_bytes(folder_.metrics());
    state.progress = {{"nonfinite_in_a_row", nonfinite_in_a_row_},
                      {"window", window_.save()},
                      {"events", synced_events()},
                      {"results", results_.save()}};
    if (!session_.config().train.whole_checkpoints)
      state.frozen = session_.frozen_fingerprint();
    checkpoints_.save(state, session_.home());
    saved_step_ = step_;
  }

  void save() {
    {
      const memory::Scope phase(memory::Phase::kSave);
      weights::save(session_.home(), session_.config().model.path, folder_.model());
    }
    write_results("finished");
    log::info("wrote " + folder_.path().string() + " after " +
              format_seconds(results_.seconds));
  }

  void say_how_to_go_on() const {
    if (saved_step_ > 0)
      log::warn("the run is saved up to step " + std::to_string(saved_step_) +
                "; to go on: lowmem-train --config " + folder_.config().string() +
                " --resume");
  }

  void stop() {
    if (step_ > 0 && saved_step_ != step_) checkpoint();
    write_results("stopped");
  }

  void write_results(const char* status) {
    results_.status = status;
    results_.steps = step_;
    results_.seconds = seconds();
    write_file_atomically(folder_.results(), results_.to_json().dump(2) + "\n");
  }

  const RunControl& control_;
  Clock clock_;
  RunFolder folder_;  // first: it refuses before anything is loaded
  Checkpoints checkpoints_;
  std::optional<Checkpoint> from_;
  Session session_;
  int64_t total_steps_;
  int64_t step_ = 0;  // finished
  int64_t saved_step_ = 0;
  double seconds_before_ = 0;  // of earlier processes
  std::optional<engine::PendingStep> under_way_;
  Clock lap_;  // since the last one was
  int64_t nonfinite_in_a_row_ = 0;
  Window window_;
  Results results_;
  EventFiles events_;  // of TensorBoard, at the checkpoint that the run goes on from
  std::vector<std::unique_ptr<metrics::Sink>> sinks_;
};

// Whether a finished run is not to go on for longer.
bool is_over(const RunFolder& folder, const RunConfig& config) {
  const RunConfig before = load_config(folder.config());
  check_same_run(before, config);
  return before.train.epochs == config.train.epochs &&
         before.train.max_steps == config.train.max_steps;
}

}  // namespace

Results train(const RunConfig& config, const RunControl& control) {
  if (control.resume) {
    const RunFolder folder(config, /*resume=*/true);
    if (const auto steps = folder.finished_steps(); steps && is_over(folder, config)) {
      log::info(folder.path().string() + " has finished already");
      Results results;
      results.status = "finished";
      results.steps = *steps;
      return results;
    }
  }
  return Trainer(config, control).run();
}

}  // namespace lowmem::train
