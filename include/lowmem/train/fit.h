#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lowmem/train/alternatives.h"
#include "lowmem/train/plan.h"

namespace lowmem::train {

// Settings that fit.
struct Proposal {
  RunConfig config;
  std::vector<Change> changes;
  Plan plan;
  double times_as_long = 1;  // of the configuration it began with

  // The changes a line each, with what they cost, then all overrides in one line.
  std::string to_text() const;
  // "memory.activations=recompute train.micro_batch_size=2"
  std::string overrides() const;
};

// The settings of least estimated time whose tensors take at most `bytes`, of all
// combinations of train/alternatives.h. Looks first for settings that change no bit of
// the result, then for those that change it by rounding, and only then for another
// precision or optimizer. `now`: the plan of the configuration itself, which is proposed
// unless another is faster by its own plan. `from`: what the run goes on from allows
// fewer. nullopt where nothing fits, as where `bytes` is negative; `least` then gets the
// smallest peak of all. Some seconds for a large model: each candidate is rehearsed that
// is not larger than one that did not fit.
// `most`: what a setting may do to the result.
std::optional<Proposal> fit(const RunConfig& config, const Inputs& inputs, int64_t bytes,
                            const Plan& now, const Checkpoint* from = nullptr,
                            int64_t* least = nullptr, Effect most = Effect::kOther);

// The fastest settings that change no bit of the result and stay within memory.budget,
// the program itself counted on the CPU; the configuration itself where it has none.
// Throws Error with the least that would do where none does. `now`: the plan of the
// configuration.
Proposal within_budget(const RunConfig& config, const Inputs& inputs, const Plan& now,
                       const Checkpoint* from = nullptr);

// A run before its weights are loaded.
struct Ready {
  RunConfig config;  // with what memory.budget left to the program
  Inputs inputs;
};

// read_inputs(), and the plan on the log. Throws Error where it exceeds the free memory,
// proposing what would fit, unless memory.force is set. Without a plan where the process
// may not have the addresses that a rehearsal takes. The weights' names and shapes are
// compared with config.json first, unless a checkpoint holds them.
Ready make_ready(const RunConfig& config, const Checkpoint* from);

}  // namespace lowmem::train
