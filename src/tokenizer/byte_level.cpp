#include "tokenizer/byte_level.h"

#include <array>

#include "lowmem/core/utf8.h"

namespace lowmem::tokenization {
namespace {

// Printable Latin-1 stands for itself; the other bytes take U+0100 and on, in order.
struct Alphabet {
  std::array<char32_t, 256> character{};
  std::array<int, 512> byte{};

  constexpr Alphabet() {
    byte.fill(-1);
    char32_t next = 256;
    for (unsigned b = 0; b < 256; ++b) {
      const bool printable =
          (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
      character[b] = printable ? b : next++;
      byte[character[b]] = static_cast<int>(b);
    }
  }
};

constexpr Alphabet kAlphabet;

}  // namespace

std::optional<std::string> bytes_of_alphabet(std::string_view text) {
  std::string bytes;
  for (size_t at = 0; at < text.size();) {
    const Utf8Char character = utf8_at(text, at);
    if (character.code >= kAlphabet.byte.size() || kAlphabet.byte[character.code] < 0)
      return std::nullopt;
    bytes += static_cast<char>(kAlphabet.byte[character.code]);
    at += character.size;
  }
  return bytes;
}

std::string alphabet_of_byte(unsigned char byte) {
  std::string text;
  append_utf8(text, kAlphabet.character[byte]);
  return text;
}

}  // namespace lowmem::tokenization
