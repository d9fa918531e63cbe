#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lowmem/config/run_config.h"
#include "lowmem/data/example.h"
#include "lowmem/model/config.h"
#include "lowmem/tokenizer/tokenizer.h"
#include "lowmem/train/chat_files.h"
#include "lowmem/train/evaluation.h"

namespace lowmem::train {

// What is left of a run's texts once they are tokens.
struct Texts {
  int64_t vocabulary = 0;    // ids of the tokenizer
  int64_t skipped_rows = 0;  // that data.on_bad_row = skip left out
  std::vector<Example> examples;
  std::string fingerprint;  // equal for equal tokens and labels in equal order
  std::optional<Evaluation> evaluation;
  std::optional<ChatUse> chat;  // where training rows are chats
};

// Reads and tokenizes what the configuration names, for a model of that shape. Throws
// Error naming the file and line of what is wrong, and where nothing is left to train on.
Texts read_texts(const RunConfig& config, const model::Config& shape, c10::Device device);

// The training rows as sequences of at most `max_length` tokens.
struct TrainingRows {
  std::vector<Example> examples;
  ExampleCounts counts;
  BadRows skipped;  // that data.on_bad_row = skip left out
  std::optional<ChatUse> chat;
};
// Those of data.train; may be without an example. Tells the log what is not HellaSwag,
// and warns of what was left out. `vocabulary` as in ExampleOptions.
TrainingRows read_training_rows(const RunConfig& config, const Tokenizer& tokenizer,
                                int64_t max_length, int64_t vocabulary = 0);

// The evaluation that the configuration asks for; nullopt where eval.data is empty.
// HellaSwag rows are asked for their right ending; all others become sequences as
// training rows do. Adds to `skipped_rows` what data.on_bad_row = skip leaves out.
std::optional<Evaluation> make_evaluation(const RunConfig& config,
                                          const model::Config& shape,
                                          const Tokenizer& tokenizer, c10::Device device,
                                          int64_t& skipped_rows);

}  // namespace lowmem::train
