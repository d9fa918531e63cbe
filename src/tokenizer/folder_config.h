#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lowmem/tokenizer/tokenizer.h"
#include "tokenizer/added_tokens.h"

namespace lowmem::tokenization {

// What the files beside a tokenizer say about it: tokenizer_config.json,
// special_tokens_map.json, added_tokens.json, generation_config.json, config.json, and
// the files of chat templates, each optional.
struct FolderConfig {
  struct Name {
    std::string content;
    std::string where;  // file and key, for errors
  };
  struct Id {
    int64_t id;
    std::string where;
  };

  std::optional<Name> bos_token;
  std::optional<Name> eos_token;
  std::optional<Id> bos_id;  // of generation_config.json, else of config.json
  std::optional<Id> eos_id;
  std::optional<bool> add_bos_token;
  std::optional<bool> add_prefix_space;
  bool legacy = false;
  // Whether transformers 5 sets up LlamaTokenizer here, whatever tokenizer.json says: the
  // space that SentencePiece puts before a text then comes before the text alone, and not
  // before what follows a special token.
  bool space_before_text_alone = false;
  std::vector<NamedTemplate> chat_templates;
  // bos_token and the like by name, those that are there.
  std::vector<std::pair<std::string, std::string>> named_tokens;
  // With their ids: `added_tokens_decoder`, then added_tokens.json.
  std::vector<AddedToken> added_tokens;
  // Contents of bos_token, unk_token, additional_special_tokens and the like.
  std::vector<std::string> special_tokens;
};

FolderConfig read_folder_config(const std::filesystem::path& folder);

// A tokenizer's BOS or EOS: the token `name`, else `id`, else `own`. Throws Error when
// the vocabulary, seen through `id_of` (kNoId where it lacks a token) and `vocab_size`,
// does not have it.
std::optional<int32_t> resolve_special(
    const std::optional<FolderConfig::Name>& name,
    const std::optional<FolderConfig::Id>& id, std::optional<int32_t> own,
    const std::function<int32_t(const std::string&)>& id_of, int64_t vocab_size);

}  // namespace lowmem::tokenization
