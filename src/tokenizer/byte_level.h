#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace lowmem::tokenization {

// GPT-2's alphabet writes every byte as one printable character, so that JSON can hold
// pieces of any bytes. The bytes that `text` stands for; nullopt when one of its
// characters is not of the alphabet.
std::optional<std::string> bytes_of_alphabet(std::string_view text);

// The character of `byte`, as UTF-8.
std::string alphabet_of_byte(unsigned char byte);

}  // namespace lowmem::tokenization
