// A tokenizer.model of SentencePiece.

#include "tokenizer_use.h"

using namespace lowmem;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static fuzz::InputFile file;
  const std::string_view text = fuzz::text_of(data, size);
  if (!text.starts_with('\n')) return 0;  // the other format
  file.write(text);
  fuzz::use_tokenizer(file.path(), text);
  return 0;
}
