#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "tokenizer/json_field.h"

namespace lowmem::tokenization {

// The special token that a `post_processor` puts before every text.
struct LeadingToken {
  int32_t id;
  std::string where;
};

// Reads TemplateProcessing, ByteLevel (which changes no ids) and sequences of them.
// nullopt where texts begin with themselves.
std::optional<LeadingToken> leading_token(const JsonField& field);

}  // namespace lowmem::tokenization
