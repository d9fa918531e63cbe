#pragma once

#include "lowmem/config/run_config.h"
#include "lowmem/model/llama.h"
#include "lowmem/train/texts.h"
#include "lowmem/weights/hf_folder.h"

namespace lowmem::train {

// Warns of trained weights that hold zeros alone, where the optimizer's steps are a share
// of the weight's norm: as of blocks put in to be trained, with their last matrices 0.
void warn_of_zeros(const RunConfig& config, const weights::Loaded& loaded);

// Warns of tokens in the training rows whose rows of the embedding, or of the head, are
// zeros, or next to them beside the median row, and are not trained: as of a base model's
// tokens that only chats use.
void warn_of_unlearned_tokens(const RunConfig& config, const model::Llama& model,
                              weights::Home& home, const Texts& texts);

// Warns where an adapter that begins with zeros is trained by such a rule.
void warn_of_zero_adapter(const RunConfig& config);

}  // namespace lowmem::train
