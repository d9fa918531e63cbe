#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "lowmem/data/example.h"
#include "lowmem/engine/step.h"

namespace lowmem::train {

// Tokens of an example that reach its loss: up to the last that predicts something, at
// least one.
int64_t tokens_read(const Example& example);

// The examples of a batch, laid end to end in micro-batches of at most `micro_batch_size`
// sequences (0: one for all), on the model's device. What follows an example's last label
// can change no loss and is left out: at the least its last token. `multiple` is
// RotaryAngles::pack()'s. `draw` is the step's, without tokens. `group`: of
// attend_in_groups(), or 0.
std::vector<engine::MicroBatch> collate(const model::Llama& model,
                                        std::span<const Example* const> examples,
                                        int64_t micro_batch_size, int64_t multiple = 0,
                                        const std::optional<model::Draw>& draw = {},
                                        int64_t group = 0);

}  // namespace lowmem::train
