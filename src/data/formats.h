#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "lowmem/data/example.h"
#include "lowmem/tokenizer/tokenizer.h"

// A row of each format as one uncut sequence. Each throws Error beginning with `where`
// for a bad row, and asks the tokenizer for its EOS, which must be there.
namespace lowmem {

Example text_example(const nlohmann::json& row, const std::string& where,
                     const Tokenizer& tokenizer);
Example prompt_completion_example(const nlohmann::json& row, const std::string& where,
                                  const Tokenizer& tokenizer);
// `number` of the row in its file.
Example hellaswag_example(const nlohmann::json& row, int64_t number,
                          const std::string& where, const Tokenizer& tokenizer);

// Throws Error where the tokenizer names no EOS.
void require_eos(const Tokenizer& tokenizer);

}  // namespace lowmem
