#include "tokenizer/folder_config.h"

#include <algorithm>
#include <charconv>
#include <unordered_map>
#include <utility>

#include "lowmem/core/error.h"
#include "lowmem/core/files.h"
#include "lowmem/core/units.h"
#include "tokenizer/vocabulary.h"

namespace lowmem::tokenization {
namespace {

using Name = FolderConfig::Name;
using Id = FolderConfig::Id;

// Calls read(JsonField) with the document of folder/name, where there is one.
template <class Read>
void with_file(const std::filesystem::path& folder, const char* name, const Read& read) {
  const std::filesystem::path path = folder / name;
  if (!is_there(path)) return;
  const nlohmann::json document = read_json(path);
  read(JsonField(document, path));
}

// A token written as "text" or as {"content": "text", ...}.
Name read_name(const JsonField& field) {
  return {field.is_object() ? field.at("content").string() : field.string(),
          field.where()};
}

void read_names(const JsonField& file, FolderConfig& config) {
  for (auto [key, slot] : {std::pair{"bos_token", &config.bos_token},
                           std::pair{"eos_token", &config.eos_token}})
    if (const auto field = file.find(key); field && !*slot) *slot = read_name(*field);
  for (const char* key : {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token",
                          "cls_token", "mask_token"}) {
    const auto field = file.find(key);
    if (!field) continue;
    const std::string token = read_name(*field).content;
    config.special_tokens.push_back(token);
    const auto same = [&](const auto& named) { return named.first == key; };
    if (std::none_of(config.named_tokens.begin(), config.named_tokens.end(), same))
      config.named_tokens.emplace_back(key, token);
  }
  for (const char* key : {"additional_special_tokens", "extra_special_tokens"}) {
    const auto field = file.find(key);
    if (!field) continue;
    if (field->is_object()) {
      for (const auto& [name, token] : field->members())
        config.special_tokens.push_back(read_name(token).content);
    } else {
      for (const JsonField& token : field->elements())
        config.special_tokens.push_back(read_name(token).content);
    }
  }
}

// Fills FolderConfig::added_tokens: each id and each content once.
class AddedTokens {
 public:
  explicit AddedTokens(std::vector<AddedToken>& tokens) : tokens_(tokens) {}

  void add(AddedToken token, int64_t id, const std::string& where) {
    token.id = checked_id(id, where);
    const auto [by_id, new_id] = by_id_.try_emplace(token.id, tokens_.size());
    const auto [by_content, new_content] =
        by_content_.try_emplace(token.content, tokens_.size());
    if (new_id && new_content) {
      tokens_.push_back(std::move(token));
      return;
    }
    const AddedToken& other = tokens_[new_id ? by_content->second : by_id->second];
    if (other.id != token.id || other.content != token.content)
      throw Error(where,
                  "gives \"" + token.content + "\" the id " + std::to_string(token.id) +
                      ", but \"" + other.content + "\" has the id " +
                      std::to_string(other.id),
                  kFetchAgain);
  }

 private:
  std::vector<AddedToken>& tokens_;
  std::unordered_map<int64_t, size_t> by_id_;  // indices into tokens_
  std::unordered_map<std::string, size_t> by_content_;
};

constexpr int64_t kLargestTemplate = kMiB;
constexpr size_t kMostTemplates = 64;

// One template, or a list of named ones.
std::vector<NamedTemplate> read_chat_templates(const JsonField& field) {
  if (!field.raw().is_array()) return {{"default", field.string(), field.where()}};
  std::vector<NamedTemplate> templates;
  for (const JsonField& entry : field.elements()) {
    std::string name = entry.at("name").string();
    const auto same = [&](const NamedTemplate& each) { return each.name == name; };
    // The last of one name counts, as in a dict that Python makes of them.
    std::erase_if(templates, same);
    templates.push_back({std::move(name), entry.at("template").string(), field.where()});
    if (templates.size() > kMostTemplates) field.fail("holds too many templates");
  }
  return templates;
}

// chat_template.jinja and additional_chat_templates/NAME.jinja.
std::vector<NamedTemplate> read_template_files(const std::filesystem::path& folder) {
  std::vector<NamedTemplate> templates;
  const auto read = [&](const std::string& name, const std::filesystem::path& path) {
    templates.push_back({name, read_file(path, kLargestTemplate), path.string()});
  };
  if (is_there(folder / "chat_template.jinja"))
    read("default", folder / "chat_template.jinja");
  const auto more = folder / "additional_chat_templates";
  std::error_code code;
  if (!std::filesystem::is_directory(more, code)) return templates;
  std::vector<std::filesystem::path> paths;
  for (auto file = std::filesystem::directory_iterator(more, code);
       !code && file != std::filesystem::directory_iterator(); file.increment(code))
    if (file->path().extension() == ".jinja") paths.push_back(file->path());
  if (code)
    throw Error(more.string(), "cannot be read (" + code.message() + ")",
                "Check its permissions");
  if (paths.size() > kMostTemplates)
    throw Error(more.string(), "holds more than 64 templates", "Remove those of no use");
  std::sort(paths.begin(), paths.end());
  for (const auto& path : paths) read(path.stem().string(), path);
  return templates;
}

void read_tokenizer_config(const JsonField& file, FolderConfig& config,
                           AddedTokens& added_tokens) {
  read_names(file, config);
  if (const auto field = file.find("add_bos_token"))
    config.add_bos_token = field->boolean();
  if (const auto field = file.find("add_prefix_space"))
    config.add_prefix_space = field->boolean();
  config.legacy = file.boolean("legacy", false);
  if (const auto field = file.find("tokenizer_class"))
    config.space_before_text_alone =
        !config.legacy &&
        (field->raw() == "LlamaTokenizer" || field->raw() == "LlamaTokenizerFast");
  if (const auto field = file.find("chat_template"))
    config.chat_templates = read_chat_templates(*field);
  const auto added = file.find("added_tokens_decoder");
  if (!added) return;
  for (const auto& [key, field] : added->members()) {
    int64_t id = -1;
    const char* end = key.data() + key.size();
    if (key.empty() || std::from_chars(key.data(), end, id).ptr != end)
      field.fail("has a key that is not an id");
    added_tokens.add(read_added_token(field), id, field.where());
  }
}

// `key` as an id, or as a list of which the first counts.
void read_id(const JsonField& file, const char* key, std::optional<Id>& slot) {
  const auto field = file.find(key);
  if (!field || slot) return;
  if (!field->raw().is_array()) {
    slot = {field->integer(), field->where()};
    return;
  }
  const auto ids = field->elements();
  if (!ids.empty()) slot = {ids[0].integer(), ids[0].where()};
}

}  // namespace

FolderConfig read_folder_config(const std::filesystem::path& folder) {
  FolderConfig config;
  AddedTokens added_tokens(config.added_tokens);
  with_file(folder, "tokenizer_config.json", [&](const JsonField& file) {
    read_tokenizer_config(file, config, added_tokens);
  });
  with_file(folder, "special_tokens_map.json",
            [&](const JsonField& file) { read_names(file, config); });
  with_file(folder, "added_tokens.json", [&](const JsonField& file) {
    for (const auto& [content, field] : file.members()) {
      AddedToken token;
      token.content = content;
      added_tokens.add(token, field.integer(), field.where());
    }
  });
  // Files count in the place of tokenizer_config.json's.
  if (auto templates = read_template_files(folder); !templates.empty())
    config.chat_templates = std::move(templates);
  for (const char* name : {"generation_config.json", "config.json"})
    with_file(folder, name, [&](const JsonField& file) {
      read_id(file, "bos_token_id", config.bos_id);
      read_id(file, "eos_token_id", config.eos_id);
      // Other families' folders may name LlamaTokenizer as well; their files count.
      if (const auto type = file.find("model_type"); type && type->raw() != "llama")
        config.space_before_text_alone = false;
    });
  return config;
}

std::optional<int32_t> resolve_special(
    const std::optional<Name>& name, const std::optional<Id>& id,
    std::optional<int32_t> own, const std::function<int32_t(const std::string&)>& id_of,
    int64_t vocab_size) {
  if (name) {
    const int32_t found = id_of(name->content);
    if (found == kNoId)
      throw Error(name->where, "is \"" + name->content + "\", which the vocabulary lacks",
                  "Name a token of the vocabulary");
    return found;
  }
  if (id) {
    if (id->id < 0 || id->id >= vocab_size)
      throw Error(id->where,
                  "is " + std::to_string(id->id) + ", where the vocabulary has " +
                      std::to_string(vocab_size) + " ids",
                  "Give the id of a token of the vocabulary");
    return static_cast<int32_t>(id->id);
  }
  return own;
}

}  // namespace lowmem::tokenization
