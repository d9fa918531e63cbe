#pragma once

#include <cstdint>
#include <string>

#include "lowmem/config/run_config.h"
#include "lowmem/train/results.h"

namespace lowmem::train {

// What a model card says beside the settings and the results.
struct CardFacts {
  int64_t trained = 0, parameters = 0;  // elements
  int64_t examples = 0;                 // sequences of an epoch
  int64_t exported = 0;                 // the step whose weights the folder holds
  std::string chats;                    // how they were written; empty: there were none
};

// README.md of a model's folder, in the form that the Hugging Face Hub reads: the base,
// the data, the results as a table, all settings, and the command that makes it again. A
// card is for others: of paths it says the last name, and nothing of the machine.
std::string model_card(const RunConfig& config, const Results& results,
                       const CardFacts& facts);

// The name of a base model: of a folder of the Hugging Face cache the name that the Hub
// has it under, else the folder's own.
std::string base_name(const std::string& path);

}  // namespace lowmem::train
