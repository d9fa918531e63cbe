#include "lowmem/tokenizer/tokenizer.h"

#include <algorithm>

#include "lowmem/core/error.h"
#include "lowmem/core/files.h"
#include "lowmem/core/units.h"
#include "tokenizer/open.h"

namespace lowmem {

std::vector<Tokenizer::Part> Tokenizer::parts(std::string_view text,
                                              std::span<const Range> /*plain*/) const {
  if (text.empty()) return {};
  return {{{0, text.size()}, std::nullopt}};
}

std::vector<std::pair<std::string, std::string>> Tokenizer::named_tokens() const {
  auto names = named_tokens_;
  const auto add = [&](const char* name, std::optional<int32_t> id) {
    const auto same = [&](const auto& each) { return each.first == name; };
    if (id && std::none_of(names.begin(), names.end(), same))
      names.emplace_back(name, piece(*id));
  };
  add("bos_token", bos_id_);
  add("eos_token", eos_id_);
  return names;
}

std::unique_ptr<Tokenizer> open_tokenizer_file(const std::filesystem::path& path) {
  const auto config = tokenization::read_folder_config(path.parent_path());
  if (path.extension() == ".json") return tokenization::open_tokenizer_json(path, config);
  // Largest in the wild: 5 MB. SentencePiece takes 30 times a hostile one's size.
  const std::string content = read_file(path, 32 * kMiB);
  if (content.empty()) throw Error(path.string(), "is empty", "Fetch the file again");
  // A SentencePiece model begins with the protobuf tag of its first piece, a line feed; a
  // tiktoken file with base64.
  return content.front() == '\n' ? tokenization::open_sentencepiece(path, content, config)
                                 : tokenization::open_tiktoken(path, content, config);
}

std::unique_ptr<Tokenizer> open_tokenizer(const std::filesystem::path& model_dir) {
  for (const char* name : {"tokenizer.json", "tokenizer.model"})
    if (is_there(model_dir / name)) return open_tokenizer_file(model_dir / name);
  std::error_code none;
  if (std::filesystem::is_regular_file(model_dir, none))
    throw Error(model_dir.string(), "is a file", "Give the folder of the model");
  throw Error(model_dir.string(), "has neither tokenizer.json nor tokenizer.model",
              "Give a model folder that holds its tokenizer");
}

namespace tokenization {

void check_length(std::string_view text) {
  if (text.size() > INT32_MAX)
    throw Error("a text of " + std::to_string(text.size()) + " bytes",
                "is too long to encode", "Split it into texts below 2 GiB");
}

}  // namespace tokenization
}  // namespace lowmem
