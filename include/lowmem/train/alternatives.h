#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lowmem/config/run_config.h"

namespace lowmem::train {

// What other settings do to the result, against the same run without them: by what their
// keys alter.
enum class Effect {
  kNone,      // not a bit
  kRounding,  // its last bits
  kOther,     // another rule or precision
};

// One change of the settings.
struct Change {
  std::vector<std::string> overrides;  // section.key=value, to paste
  std::string cost;                    // for whoever decides on it
  Effect effect = Effect::kNone;
};

// A configuration with one change.
struct Alternative {
  RunConfig config;
  Change change;
};

// Each is nullopt where the configuration has it so already, or where the change would be
// no valid configuration. The first word says what it does; what the others mean is in
// docs/configuration.md.
using MaybeAlternative = std::optional<Alternative>;
MaybeAlternative recompute_activations(const RunConfig& config);
MaybeAlternative keep_activations(const RunConfig& config);
// Of the last `blocks` blocks.
MaybeAlternative keep_last(const RunConfig& config, int64_t blocks);
MaybeAlternative update_in_backward(const RunConfig& config);
MaybeAlternative accumulate_gradients(const RunConfig& config);
MaybeAlternative slice_loss(const RunConfig& config);
MaybeAlternative leave_graphs(const RunConfig& config);
MaybeAlternative use_bf16(const RunConfig& config);
MaybeAlternative round_stochastically(const RunConfig& config);  // from Kahan's sums
MaybeAlternative state_in_bf16(const RunConfig& config);         // the averages
MaybeAlternative state_in_int8(const RunConfig& config);
MaybeAlternative use_adafactor(const RunConfig& config);  // in place of averages
MaybeAlternative leave_momentum(const RunConfig& config);
// Blocks live on the disk between their turns, or for a GPU in the host's memory, with
// one at a time brought before its own.
MaybeAlternative stream_weights(const RunConfig& config, bool gpu);
MaybeAlternative hold_weights(const RunConfig& config);
// What the optimizer keeps lives there, and the weights stay.
MaybeAlternative page_states(const RunConfig& config, bool gpu);
MaybeAlternative hold_states(const RunConfig& config);
// What is kept of a block waits there for its backward pass.
MaybeAlternative page_kept(const RunConfig& config, bool gpu);
MaybeAlternative hold_kept(const RunConfig& config);
// One block at a time is brought before its turn.
MaybeAlternative look_less_ahead(const RunConfig& config);
// No block stays, or so many do.
MaybeAlternative release_blocks(const RunConfig& config);
MaybeAlternative hold_blocks(const RunConfig& config, int64_t blocks);
// `rows` at a time; 0: the whole batch.
MaybeAlternative split_batch(const RunConfig& config, int64_t rows);

}  // namespace lowmem::train
