#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lowmem/train/plan.h"

namespace lowmem::train {

// One setting of a proposal.
struct Change {
  std::vector<std::string> overrides;  // section.key=value, to paste
  std::string cost;                    // what it does to the result
};

// Settings that fit.
struct Proposal {
  std::vector<Change> changes;
  Plan plan;
  double times_as_long = 1;  // of the configuration it began with

  // The changes a line each, with what they cost, then all overrides in one line.
  std::string to_text() const;
  // "memory.activations=recompute train.micro_batch_size=2"
  std::string overrides() const;
};

// The fastest settings whose tensors take at most `bytes`.
// Looks first for settings that change no bit of the result, then for those that change
// it by rounding, and only then for another precision or optimizer. nullopt where nothing
// fits. Some seconds for a large model: each candidate is rehearsed.
std::optional<Proposal> fit(const RunConfig& config, const Inputs& inputs, int64_t bytes);

// read_inputs(), and the plan on the log. Throws Error where it exceeds the free memory,
// proposing what would fit, unless memory.force is set. Without a plan where the process
// may not have the addresses that a rehearsal takes. The weights' names and shapes are
// compared with config.json first, unless a checkpoint holds them.
Inputs inputs_that_fit(const RunConfig& config, bool from_checkpoint);

}  // namespace lowmem::train
