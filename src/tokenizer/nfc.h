#pragma once

#include <string>
#include <string_view>

namespace lowmem::tokenization {

// `text`, which is well-formed UTF-8, in Unicode's Normalization Form C, as the
// `tokenizers` library has it: by Unicode 9, whose later marks stay where they are.
// Throws Error naming `where` for more marks on one character than any writing has.
std::string to_nfc(std::string_view text, const std::string& where);

}  // namespace lowmem::tokenization
