// The files beside a tokenizer. The first byte of an input chooses one of them, and
// whether the tokenizer is a tokenizer.json or a tokenizer.model; the rest is its
// content.

#include <array>

#include "tokenizer_use.h"

using namespace lowmem;

namespace {

constexpr std::string_view kTokenizerJson = R"({
  "added_tokens": [{"id": 3, "content": "<s>", "special": true}],
  "model": {"type": "BPE", "merges": [], "vocab": {"a": 0, "b": 1, "</s>": 2, "<s>": 3}}
})";

// Every byte under its own rank, in base64.
std::string tiktoken_file() {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t b = 0; b < 256; ++b)
    text += std::string{kDigits[b >> 2], kDigits[(b & 3) << 4]} +
            "== " + std::to_string(b) + "\n";
  return text;
}

class Folder : public fuzz::InputFolder {
 public:
  Folder() {
    json_.write(kTokenizerJson);
    model_.write(tiktoken_file());
    add("tokenizer.json", json_);
    add("tokenizer.model", model_);
    for (size_t i = 0; i < files.size(); ++i) add(kNames[i], files[i]);
  }

  static constexpr std::array kNames = {"tokenizer_config.json",
                                        "special_tokens_map.json", "added_tokens.json",
                                        "generation_config.json"};
  std::array<fuzz::InputFile, kNames.size()> files;

 private:
  fuzz::InputFile json_, model_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Folder folder;
  if (size == 0) return 0;
  const std::string_view text = fuzz::text_of(data + 1, size - 1);
  for (size_t i = 0; i < folder.files.size(); ++i)
    folder.files[i].write(i == data[0] % folder.files.size() ? text : "{}");
  const bool json = data[0] / folder.files.size() % 2 == 0;
  fuzz::use_tokenizer(folder.path() / (json ? "tokenizer.json" : "tokenizer.model"),
                      text);
  return 0;
}
