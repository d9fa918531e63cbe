#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "lowmem/engine/step.h"
#include "lowmem/metrics/sink.h"

namespace lowmem::train {

// Adds up the steps between two lines of the log.
class Window {
 public:
  void add(const engine::StepResult& result, double seconds,
           const weights::Traffic& moved) {
    moved_.read += moved.read;
    moved_.written += moved.written;
    moved_.waited_seconds += moved.waited_seconds;
    loss_sum_ += result.loss_sum;
    examples_ += result.sequences;
    tokens_ += result.tokens;
    labelled_ += result.labelled;
    grad_norm_ = result.gradients.norm;
    orthogonality_ += result.gradients.orthogonality;
    if (result.gradients.rank) rank_ = *result.gradients.rank;
    if (result.gradients.rounding.updates > 0) rounding_ = result.gradients.rounding;
    seconds_ += seconds;
    ++steps_;
  }

  int64_t steps() const { return steps_; }

  // The counts and means so far; begins a new window.
  metrics::StepRecord take() {
    const Window window = std::exchange(*this, {});
    last_steps_ = window.steps_;
    const double steps = static_cast<double>(std::max<int64_t>(1, window.steps_));
    metrics::StepRecord record;
    // No step at all where every one was skipped: then there is no loss to speak of.
    record.loss = window.steps_ == 0
                      ? std::numeric_limits<double>::quiet_NaN()
                      : window.loss_sum_ /
                            static_cast<double>(std::max<int64_t>(1, window.labelled_));
    record.examples = window.examples_;
    record.tokens = window.tokens_;
    record.labelled_tokens = window.labelled_;
    if (window.steps_ > 0) record.grad_norm = window.grad_norm_;
    if (window.rank_ >= 0) {
      record.adapter_rank = window.rank_;
      record.orthogonality = window.orthogonality_ / steps;
    }
    if (window.rounding_.updates > 0)
      record.rounding_lost = static_cast<double>(window.rounding_.lost) /
                             static_cast<double>(window.rounding_.updates);
    record.step_seconds = window.seconds_ / steps;
    const weights::Traffic& moved = window.moved_;
    const auto mean = [&](int64_t bytes) {
      return static_cast<int64_t>(static_cast<double>(bytes) / steps);
    };
    if (moved.read + moved.written > 0)
      record.moved = {mean(moved.read), mean(moved.written),
                      moved.waited_seconds / steps};
    record.tokens_per_second =
        window.seconds_ > 0 ? static_cast<double>(window.tokens_) / window.seconds_ : 0;
    return record;
  }

  // For a checkpoint, exactly.
  nlohmann::json save() const {
    return {{"loss_sum", loss_sum_},
            {"seconds", seconds_},
            {"grad_norm", grad_norm_},
            {"orthogonality", orthogonality_},
            {"rank", rank_},
            {"rounding", {rounding_.updates, rounding_.lost}},
            {"examples", examples_},
            {"tokens", tokens_},
            {"labelled", labelled_},
            {"steps", steps_},
            {"read", moved_.read},
            {"written", moved_.written},
            {"waited", moved_.waited_seconds}};
  }
  static Window load(const nlohmann::json& saved) {
    Window window;
    window.loss_sum_ = saved.at("loss_sum");
    window.seconds_ = saved.at("seconds");
    window.grad_norm_ = saved.at("grad_norm");
    window.rounding_.updates = saved.at("rounding").at(0);
    window.rounding_.lost = saved.at("rounding").at(1);
    window.examples_ = saved.at("examples");
    window.tokens_ = saved.at("tokens");
    window.labelled_ = saved.at("labelled");
    window.steps_ = saved.at("steps");
    // Checkpoints of earlier versions do not say.
    window.orthogonality_ = saved.value("orthogonality", 0.0);
    window.rank_ = saved.value("rank", int64_t{-1});
    window.moved_ = {saved.value("read", int64_t{0}), saved.value("written", int64_t{0}),
                     saved.value("waited", 0.0)};
    return window;
  }

  // Steps in the window that take() ended.
  int64_t last_steps() const { return last_steps_; }

 private:
  double loss_sum_ = 0, seconds_ = 0, grad_norm_ = 0, orthogonality_ = 0;
  int64_t rank_ = -1;  // the last one; -1: none has been told
  kernels::RoundingReport rounding_;
  weights::Traffic moved_;
  int64_t examples_ = 0, tokens_ = 0, labelled_ = 0, steps_ = 0, last_steps_ = 0;
};

}  // namespace lowmem::train
