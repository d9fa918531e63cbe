#include "lowmem/train/chat_files.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "lowmem/core/error.h"
#include "lowmem/core/files.h"
#include "lowmem/io/atomic_file.h"

namespace lowmem::train {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr const char* kDefault = "default";

// The file, in the order its author gave it; an empty object where there is none.
ordered_json read_object(const fs::path& file) {
  if (!is_there(file)) return ordered_json::object();
  ordered_json object = ordered_json::parse(read_file(file), nullptr, false);
  if (!object.is_object())
    throw Error(file.string(), "is not a JSON object",
                "Repair the file, or fetch it again");
  return object;
}

void write_object(const fs::path& file, const ordered_json& object) {
  write_file_atomically(file, object.dump(2) + "\n");
}

// Makes `text` the default one of a tokenizer_config.json that has templates.
void name_template(ordered_json& settings, const std::string& text) {
  const auto found = settings.find("chat_template");
  if (found == settings.end() || found->is_null()) return;
  if (!found->is_array()) {
    *found = text;
    return;
  }
  for (ordered_json& named : *found)
    if (named.is_object() && named.value("name", "") == kDefault) {
      named["template"] = text;
      return;
    }
  found->push_back({{"name", kDefault}, {"template", text}});
}

// One id or a list of them, with this one among them.
void add_id(ordered_json& ids, int32_t id) {
  if (ids.is_null()) {
    ids = id;
  } else if (ids.is_array()) {
    if (std::find(ids.begin(), ids.end(), ordered_json(id)) == ids.end())
      ids.push_back(id);
  } else if (ids != id) {
    ids = ordered_json::array({ids, id});
  }
}

// The content of a token as these files have it: a text, or an object with one.
void name_token(ordered_json& settings, const char* key, const std::string& content) {
  ordered_json& token = settings[key];
  if (token.is_object())
    token["content"] = content;
  else
    token = content;
}

}  // namespace

ChatUse chat_use(ChatWriter& writer, const Tokenizer& tokenizer) {
  ChatUse use{writer.used(), false, {}};
  for (const NamedTemplate& named : tokenizer.chat_templates())
    use.is_default =
        use.is_default || (named.name == kDefault && named.text == use.used.text);
  if (use.used.end_of_turn) use.turn_end = tokenizer.piece(*use.used.end_of_turn);
  return use;
}

void write_chat_files(const fs::path& model, const ChatUse& chat) {
  const fs::path tokenizer = model / "tokenizer_config.json";
  const ordered_json before = read_object(tokenizer);
  ordered_json settings = before;
  if (!chat.is_default) {
    name_template(settings, chat.used.text);
    write_file_atomically(model / "chat_template.jinja", chat.used.text);
  }
  if (!chat.turn_end.empty()) {
    name_token(settings, "eos_token", chat.turn_end);
    const fs::path special = model / "special_tokens_map.json";
    if (is_there(special)) {
      ordered_json map = read_object(special);
      name_token(map, "eos_token", chat.turn_end);
      write_object(special, map);
    }
    const fs::path generation = model / "generation_config.json";
    ordered_json ends = read_object(generation);
    if (!ends.contains("eos_token_id")) {
      const ordered_json config = read_object(model / "config.json");
      ends["eos_token_id"] = config.value("eos_token_id", ordered_json());
    }
    add_id(ends["eos_token_id"], *chat.used.end_of_turn);
    write_object(generation, ends);
  }
  if (settings != before) write_object(tokenizer, settings);
}

}  // namespace lowmem::train
