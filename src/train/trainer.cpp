#include "lowmem/train/trainer.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>

#include "lowmem/config/yaml.h"
#include "lowmem/core/error.h"
#include "lowmem/core/files.h"
#include "lowmem/core/log.h"
#include "lowmem/core/plain_text.h"
#include "lowmem/core/units.h"
#include "lowmem/io/atomic_file.h"
#include "lowmem/io/sync.h"
#include "lowmem/memory/meter.h"
#include "lowmem/metrics/sinks.h"
#include "lowmem/train/best_model.h"
#include "lowmem/train/checkpoint.h"
#include "lowmem/train/exported.h"
#include "lowmem/train/fit.h"
#include "lowmem/train/out_of_memory.h"
#include "lowmem/weights/carried_files.h"
#include "model_card.h"
#include "nonfinite.h"
#include "progress.h"
#include "remarks.h"
#include "reporter.h"

namespace lowmem::train {
namespace {

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

struct Stopped {};  // thrown when the run is asked to end

class Trainer {
 public:
  Trainer(const RunConfig& config, const RunControl& control)
      : control_(control),
        folder_(config, control.resume),
        checkpoints_(folder_.checkpoints(), config.train.keep_checkpoints),
        from_(control.resume ? newest_checkpoint(config) : std::nullopt),
        ready_(make_ready(config, from_ ? &*from_ : nullptr)),
        session_(ready_.config, ready_.inputs, from_ ? &*from_ : nullptr),
        course_{session_.total_steps(), session_.steps_per_epoch(),
                evaluation_every(config)} {
    const bool goes_on = from_.has_value();
    const uintmax_t metrics = goes_on ? from_->state.metrics : 0;
    if (goes_on) load_progress();
    folder_.prepare(ready_.config, goes_on);
    if (!goes_on) write_taken(session_.config(), session_.home());
    progress_.results.skipped_rows = session_.skipped_rows();
    log::info(
        "training " + format_count(session_.table().trained_elements()) +
        " parameters for " + format_count(course_.total, "step") +
        (goes_on ? ", " + format_count(course_.total - step()) + " of them to go" : ""));
    if (control_.begins) control_.begins();
    if (goes_on) metrics::restore_event_files(folder_.path(), progress_.events);
    reporter_.emplace(folder_, config, course_, metrics, step());
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
      throw out_of_memory(session_.config(), session_.resident(), failure);
    }
    return progress_.results;
  }

 private:
  void train() {
    Results& results = progress_.results;
    if (session_.evaluation() && step() == 0) results.before = evaluate();
    evaluate_if_due();  // where the run was interrupted before that
    check_stop();
    while (step() < course_.total && !best_.gains_nothing()) {
      take_step();
      if (under_way_) continue;
      if (log_due(step())) report();
      evaluate_if_due();
      if (save_due(step())) checkpoint();
      check_stop();
    }
    if (step() < course_.total)
      log::info("no gain since the evaluation after step " +
                std::to_string(results.best->step) + ": the run ends after step " +
                std::to_string(step()));
    if (session_.evaluation() && course_.total > 0) {
      const bool done = evaluated();
      results.after = done ? results.epochs.back().scores : evaluate();
      if (evaluation_due(step()) && !done) record_epoch(*results.after);
      consider(*results.after);
    }
    save();
  }

  // A GPU works on one step while the next is put on its stream, and only then is the
  // first one's result looked at. Where a step's end is needed it is waited for.
  void take_step() {
    const int64_t next = step() + (under_way_ ? 2 : 1);
    if (!under_way_) lap_ = Clock();
    const weights::Traffic before = session_.traffic();
    engine::PendingStep begun =
        session_.begin_step(next - 1, /*report_rounding=*/log_due(next));
    const weights::Traffic moved = session_.traffic().since(before);
    if (under_way_) finish(*std::exchange(under_way_, std::nullopt));
    moved_ = moved;
    if (session_.device().is_cpu() || log_due(next) || evaluation_due(next) ||
        save_due(next) || stop_asked())
      finish(std::move(begun));
    else
      under_way_ = std::move(begun);
  }

  void finish(engine::PendingStep pending) {
    const engine::StepResult result = pending.wait();
    try {
      answer_nonfinite(result, session_.config(), progress_);
    } catch (const Error&) {
      if (progress_.window.steps() > 0) report();
      throw;
    }
    const double seconds = lap_.seconds();
    if (result.finite_loss()) progress_.window.add(result, seconds, moved_);
    lap_ = Clock();
    ++progress_.step;
    reporter_->moment(step(), result, seconds);
  }

  int64_t step() const { return progress_.step; }

  bool log_due(int64_t step) const {
    return step % session_.config().train.log_every == 0 || step == course_.total;
  }

  bool save_due(int64_t step) const {
    const int64_t every = session_.config().train.save_every;
    return every > 0 && step % every == 0;
  }

  bool evaluation_due(int64_t step) const {
    const int64_t every = course_.evaluation_every;
    return every > 0 && step % every == 0;
  }

  bool stop_asked() const { return control_.stop && control_.stop(step()); }

  void check_stop() const {
    if (stop_asked()) throw Stopped();
  }

  // Steps between two evaluations; 0: none during training.
  int64_t evaluation_every(const RunConfig& config) const {
    if (!session_.evaluation()) return 0;
    const Interval& every = config.eval.every;
    return every.unit == Interval::Unit::kEpoch ? session_.steps_per_epoch()
                                                : every.steps;
  }

  // Whether it was evaluated after this step.
  bool evaluated() const {
    const auto& epochs = progress_.results.epochs;
    return !epochs.empty() && epochs.back().step == step();
  }

  void evaluate_if_due() {
    if (step() == 0 || step() >= course_.total || !evaluation_due(step()) || evaluated())
      return;
    record_epoch(evaluate());
    consider(progress_.results.epochs.back().scores);
  }

  // Of AdaLoRA's adapters those count that have the ranks that are left.
  void consider(const Scores& scores) {
    const AdapterConfig& adapter = session_.config().adapter;
    if (adapter.kind == AdapterKind::kAdalora && step() < course_.total - adapter.tfinal)
      return;
    best_.consider({reporter_->epoch(step()), step(), scores}, session_.home(),
                   step() >= course_.total);
  }

  Scores evaluate() {
    const Clock clock;
    const EvaluationResult result = session_.evaluate([this] { check_stop(); });
    if (result.hellaswag) write_evaluation(folder_.evaluation(step()), *result.hellaswag);
    const Scores scores = result.scores();
    reporter_->evaluation(step(), scores, clock.seconds());
    return scores;
  }

  void record_epoch(const Scores& scores) {
    progress_.results.epochs.push_back({reporter_->epoch(step()), step(), scores});
  }

  void report() {
    reporter_->line(progress_, session_.lr(step() - 1));
    constexpr int64_t kSteps = 100;  // by which most runs have learned something
    const auto& loss = progress_.results.final_loss;
    if (told_of_guessing_ || !loss || step() < std::max(kSteps, course_.total / 10))
      return;
    if (const auto line = no_better_than_guessing(*loss, session_.shape().vocab_size)) {
      log::warn("after " + format_count(step(), "step") + " " + *line);
      told_of_guessing_ = true;
    }
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
    if (from_->state.step > course_.total)
      throw Error("a run of " + format_count(course_.total, "step"),
                  "would end before its checkpoint after step " +
                      std::to_string(from_->state.step),
                  "Set train.epochs and train.max_steps to more");
    progress_ = Progress::load(*from_);
    from_whole_ = from_->state.frozen.empty();
    const weights::Table& table = session_.table();
    const bool all_trained =
        std::all_of(table.all().begin(), table.all().end(),
                    [](const weights::Weight& weight) { return weight.trained; });
    if (from_whole_ && !all_trained && !session_.config().train.whole_checkpoints)
      log::info("the checkpoint holds every weight, and so will the next ones");
    seconds_before_ = progress_.results.seconds;
    log::info("goes on after step " + std::to_string(step()) + ", from " +
              from_->folder.string());
    saved_step_ = step();
    best_.go_on(from_->state.config.train);
    from_.reset();
  }

  void checkpoint() {
    const memory::Scope phase(memory::Phase::kSave);
    progress_.results.seconds = seconds();
    progress_.events = metrics::event_files(folder_.path());
    for (auto& [name, bytes] : progress_.events)
      bytes = synced_bytes(folder_.path() / name);
    RunState state = session_.state();
    state.step = step();
    state.metrics = synced_bytes(folder_.metrics());
    state.progress = progress_.save();
    if (!session_.config().train.whole_checkpoints && !from_whole_)
      state.frozen = session_.frozen_fingerprint();
    checkpoints_.save(state, session_.home());
    saved_step_ = step();
    best_.saved();
  }

  void save() {
    Results& results = progress_.results;
    {
      const memory::Scope phase(memory::Phase::kSave);
      results.exported = best_.choose(step(), session_.home());
      const RunConfig& config = session_.config();
      write_exported(config, session_.home(),
                     makes_adapter(config) ? folder_.adapter() : folder_.model(),
                     course_.total);
      results.adapter_ranks = adapter_ranks(config, session_.table());
      if (makes_adapter(config)) {
        weights::carry_files(config.model.path, folder_.adapter());
        if (config.adapter.merge) write_merged(config, session_.home(), folder_.model());
      }
    }
    results.steps = step();
    const std::string card = model_card(
        session_.config(), results,
        {session_.table().trained_elements(), model::parameter_count(session_.shape()),
         session_.examples(), results.exported,
         session_.chat() ? session_.chat()->used.source : ""});
    for (const auto& folder : {folder_.model(), folder_.adapter()}) {
      if (!is_there(folder)) continue;
      if (session_.chat()) write_chat_files(folder, *session_.chat());
      write_file_atomically(folder / "README.md", card);
    }
    // Before results.json says that all is there.
    for (const auto& [name, bytes] : metrics::event_files(folder_.path()))
      synced_bytes(folder_.path() / name);
    synced_bytes(folder_.metrics());
    write_results("finished");
    best_.clear();
    for (const std::string& line :
         remarks(results, session_.shape().vocab_size, results.exported))
      log::warn(line);
    log::info("wrote " + folder_.path().string() + " after " +
              format_seconds(progress_.results.seconds));
  }

  void say_how_to_go_on() const {
    if (saved_step_ > 0)
      log::warn("the run is saved up to step " + std::to_string(saved_step_) +
                "; to go on: lowmem-train --config " +
                shell_word(folder_.config().string()) + " --resume");
  }

  void stop() {
    if (step() > 0 && saved_step_ != step()) checkpoint();
    write_results("stopped");
  }

  void write_results(const char* status) {
    Results& results = progress_.results;
    results.status = status;
    results.steps = step();
    results.seconds = seconds();
    write_file_atomically(folder_.results(), results.to_json().dump(2) + "\n");
  }

  const RunControl& control_;
  Clock clock_;
  RunFolder folder_;  // first: it refuses before anything is loaded
  Checkpoints checkpoints_;
  std::optional<Checkpoint> from_;
  Ready ready_;
  Session session_;
  Reporter::Course course_;
  Progress progress_;
  BestSoFar best_{session_.config(), progress_.results, folder_.best()};
  std::optional<Reporter> reporter_;
  int64_t saved_step_ = 0;
  bool told_of_guessing_ = false;
  // It went on from a checkpoint that holds every weight, and model.path may hold none of
  // them any more: so do those that it writes.
  bool from_whole_ = false;
  double seconds_before_ = 0;  // of earlier processes
  std::optional<engine::PendingStep> under_way_;
  Clock lap_;               // since the last one was
  weights::Traffic moved_;  // by the step that is begun
};

// Whether a finished run is not to go on for longer.
bool is_over(const RunFolder& folder, const RunConfig& config) {
  const RunConfig before = load_config(folder.config());
  check_same_run(before, config);
  return before.train.epochs == config.train.epochs &&
         before.train.max_steps == config.train.max_steps &&
         before.train.stop_after == config.train.stop_after;
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
