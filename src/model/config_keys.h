#pragma once

#include <array>
#include <string_view>

#include "config_reader.h"
#include "lowmem/model/family.h"

namespace lowmem::model {

// Keys of dropout, in the spellings of transformers' families. What weights compute when
// they are not trained is the same with any value.
inline constexpr auto kDropout = std::to_array<std::string_view>(
    {"attention_dropout", "attn_pdrop", "dropout", "embd_pdrop", "hidden_dropout",
     "hidden_dropout_prob", "attention_probs_dropout_prob", "resid_pdrop"});

// Throws Error for the first key that could change what the weights compute and that a
// config.json of this family does not have: what is not read is refused, unless its value
// asks for nothing.
void refuse_other_keys(const ConfigReader& in, const Family& family);

}  // namespace lowmem::model
