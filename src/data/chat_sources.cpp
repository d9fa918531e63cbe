#include "data/chat_sources.h"

#include <algorithm>

#include "lowmem/core/error.h"
#include "lowmem/core/files.h"
#include "lowmem/core/units.h"
#include "lowmem/template/built_in.h"

namespace lowmem {
namespace {

constexpr std::string_view kHeaderBegin = "<|start_header_id|>";

// Whether `token` written out in a text becomes an id.
bool is_written(const Tokenizer& tokenizer, std::string_view token) {
  const auto parts = tokenizer.parts(token, {});
  return parts.size() == 1 && parts[0].id;
}

// A built-in template writes tokens that a tokenizer must have.
void check_tokens(ChatTemplate word, const Tokenizer& tokenizer) {
  const std::string key = "data.chat_template = " + std::string(word_of(word));
  const auto named = [&](std::optional<int32_t> id, const char* name, const char* where) {
    if (!id)
      throw Error("the tokenizer",
                  std::string("names no ") + name + ", which " + key + " writes",
                  std::string("Name ") + where +
                      " in tokenizer_config.json, or choose another data.chat_template");
    if (!is_written(tokenizer, tokenizer.piece(*id)))
      throw Error("the tokenizer",
                  "reads " + tokenizer.piece(*id) + ", which " + key + " writes, as text",
                  std::string("Name it as ") + where + " in tokenizer_config.json");
  };
  if (word != ChatTemplate::kTinyLlama && word != ChatTemplate::kChatMl)
    named(tokenizer.bos_id(), "BOS", "bos_token");
  if (word != ChatTemplate::kLlama3 && word != ChatTemplate::kChatMl)
    named(tokenizer.eos_id(), "EOS", "eos_token");
  std::vector<std::string_view> tokens;
  if (word == ChatTemplate::kLlama3)
    tokens = {kHeaderBegin, "<|end_header_id|>", "<|eot_id|>"};
  if (word == ChatTemplate::kChatMl) tokens = {"<|im_start|>", "<|im_end|>"};
  for (const std::string_view token : tokens)
    if (!is_written(tokenizer, token))
      throw Error("the tokenizer",
                  "has no token " + std::string(token) + ", which " + key + " writes",
                  "Choose another data.chat_template, or the tokenizer of a chat model");
}

ChatSource built_in(ChatTemplate word, const Tokenizer& tokenizer) {
  check_tokens(word, tokenizer);
  const std::string name(word_of(word));
  const std::string_view text = jinja::built_in_template(name);
  return {std::string(text), name, true,
          std::make_shared<const jinja::Template>(text, name)};
}

ChatSource of_folder(const NamedTemplate& named) {
  return {named.text, (named.name == "default" ? "" : named.name + " of ") + named.where,
          false, std::make_shared<const jinja::Template>(named.text, named.where)};
}

const NamedTemplate* find(const Tokenizer& tokenizer, std::string_view name) {
  for (const NamedTemplate& each : tokenizer.chat_templates())
    if (each.name == name) return &each;
  return nullptr;
}

std::string names_of(const Tokenizer& tokenizer) {
  std::string names;
  for (const NamedTemplate& each : tokenizer.chat_templates())
    (names += names.empty() ? "" : ", ") += each.name;
  return names.empty() ? "none" : names;
}

ChatSource of_text(const std::string& text, const Tokenizer& tokenizer) {
  if (const NamedTemplate* named = find(tokenizer, text)) return of_folder(*named);
  if (!text.ends_with(".jinja"))
    throw Error("data.chat_template = " + text,
                "is no word, and no template of the model folder (it has " +
                    names_of(tokenizer) + ")",
                "Write auto, llama2, llama3, tinyllama, chatml, mistral, one of the "
                "folder's, or the path of a .jinja file");
  const std::string source = read_file(text, kMiB);
  return {source, text, false, std::make_shared<const jinja::Template>(source, text)};
}

}  // namespace

std::vector<ChatSource> chat_sources(const OrText<ChatTemplate>& choice,
                                     const Tokenizer& tokenizer) {
  std::vector<ChatSource> sources;
  if (!choice.text.empty()) {
    sources.push_back(of_text(choice.text, tokenizer));
  } else if (choice.word != ChatTemplate::kAuto) {
    sources.push_back(built_in(choice.word, tokenizer));
  } else if (tokenizer.chat_templates().empty()) {
    sources.push_back(built_in(is_written(tokenizer, kHeaderBegin)
                                   ? ChatTemplate::kLlama3
                                   : ChatTemplate::kLlama2,
                               tokenizer));
  } else {
    const NamedTemplate* first = find(tokenizer, "default");
    if (first == nullptr)
      throw Error(
          "data.chat_template = auto",
          "finds no template default in the model folder, but " + names_of(tokenizer),
          "Set data.chat_template to one of these names");
    sources.push_back(of_folder(*first));
    if (const NamedTemplate* tools = find(tokenizer, "tool_use"))
      sources.push_back(of_folder(*tools));
  }
  return sources;
}

}  // namespace lowmem
