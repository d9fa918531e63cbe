// {"messages": [{"role": ..., "content": ...}, ...]} and its older form,
// {"conversations": [{"from": ..., "value": ...}, ...]}; or the two lists "prompt" and
// "completion".
#include <algorithm>
#include <optional>
#include <utility>

#include "data/chat_parts.h"
#include "data/row_file.h"
#include "lowmem/core/error.h"
#include "lowmem/core/files.h"
#include "lowmem/data/chat.h"

namespace lowmem {
namespace {

using nlohmann::ordered_json;

// Roles that published templates know. What a template makes of one is its own affair.
constexpr std::string_view kRoles[] = {
    "system",   "developer",     "user",           "assistant",   "tool",
    "function", "ipython",       "tool_results",   "environment", "context",
    "document", "tool_response", "available_tools"};

bool has(const ordered_json& row, const char* key) {
  const auto found = row.find(key);
  return found != row.end() && !found->is_null();
}

// Exports of one schema for all rows fill in "" or [] where there is nothing.
bool is_empty(const ordered_json& value) {
  return value.is_string() ? value.get_ref<const std::string&>().empty() : value.empty();
}

bool has_items(const ordered_json& row, const char* key) {
  return has(row, key) && !is_empty(row.at(key));
}

std::string text_at(const ordered_json& row, const char* key, const std::string& where) {
  if (!has(row, key)) throw Error(where + " " + key, "is missing", kRepairLine);
  if (!row.at(key).is_string())
    throw Error(where + " " + key, "is not a string", kRepairLine);
  return row.at(key).get<std::string>();
}

std::string shown(const std::string& text) {
  return ordered_json(text.substr(0, 40))
      .dump(-1, ' ', true, ordered_json::error_handler_t::replace);
}

std::string role_of(const std::string& name, const std::string& thing) {
  if (name == "human") return "user";
  if (name == "gpt") return "assistant";
  if (std::find(std::begin(kRoles), std::end(kRoles), name) != std::end(kRoles))
    return name;
  throw Error(thing + " = " + shown(name),
              "is none of system, user, assistant and tool (or human and gpt)",
              kRepairLine);
}

// What an entry says about being learned: `weight` as OpenAI's files have it, `train` and
// `loss` as others'.
struct Wish {
  std::optional<bool> learned;
  std::string key;
};

Wish wish_of(const ordered_json& entry, const std::string& turn) {
  Wish wish;
  for (const std::string key : {"weight", "train", "loss"}) {
    if (!has(entry, key.c_str())) continue;
    const ordered_json& value = entry.at(key);
    if (key == "weight" && (!value.is_number() || (value != 0 && value != 1)))
      throw Error(turn + " weight", "is neither 0 nor 1",
                  "Write one of them: turns are learned or not");
    if (key != "weight" && !value.is_boolean())
      throw Error(turn + " " + key, "is neither true nor false", kRepairLine);
    const bool learned = key == "weight" ? value == 1 : value.get<bool>();
    if (wish.learned && *wish.learned != learned)
      throw Error(turn + " " + key, "contradicts " + wish.key,
                  "Keep the one that says whether the turn is learned");
    wish = {learned, key};
  }
  return wish;
}

void check_content(const ordered_json& message, const std::string& thing) {
  const std::string role = message.at("role").get<std::string>();
  const bool calls =
      has_items(message, "tool_calls") || has_items(message, "function_call");
  if (!has(message, "content")) {
    if (calls) return;
    throw Error(thing, "is missing", kRepairLine);
  }
  const ordered_json& content = message.at("content");
  if (content.is_string()) return;
  const bool is_result = role != "system" && role != "user" && role != "assistant";
  if (content.is_object() && is_result) return;
  const auto is_part = [](const ordered_json& part) {
    return part.is_object() && part.contains("type") && part["type"].is_string();
  };
  if (!content.is_array() || !std::all_of(content.begin(), content.end(), is_part))
    throw Error(thing, "is not a string", kRepairLine);
  for (const ordered_json& part : content) {
    const std::string type = part["type"].get<std::string>();
    if (type != "text")
      throw Error(thing, "holds a part of the type " + shown(type),
                  "This program reads text alone: remove the line");
    if (!part.contains("text") || !part["text"].is_string())
      throw Error(thing, "holds a part without a text", kRepairLine);
  }
}

void check_calls(const ordered_json& message, const std::string& turn) {
  if (!has_items(message, "tool_calls")) return;
  const ordered_json& calls = message.at("tool_calls");
  const auto is_object = [](const ordered_json& call) { return call.is_object(); };
  if (!calls.is_array() || !std::all_of(calls.begin(), calls.end(), is_object))
    throw Error(turn + " tool_calls", "is not a list of objects", kRepairLine);
}

// `place` in the row: "messages[1]". `learns`: what the assistant says in this list is.
Chat::Turn read_turn(const ordered_json& entry, const std::string& where,
                     const std::string& place, bool learns) {
  const std::string turn = where + " " + place;
  if (!entry.is_object()) throw Error(turn, "is not an object", kRepairLine);
  const bool from = has(entry, "from") && !has(entry, "role");
  const char* role_key = from ? "from" : "role";
  const std::string role = role_of(text_at(entry, role_key, turn), turn + " " + role_key);
  Chat::Turn read;
  read.place = place;
  if (from && has(entry, "value") && has(entry, "content"))
    throw Error(turn + " content", "stands beside value", "Keep one of the two");
  const bool by_value = from && !has(entry, "content");
  for (const auto& [key, value] : entry.items()) {
    const bool is_flag = key == "weight" || key == "train" || key == "loss";
    const bool is_call = key == "tool_calls" || key == "function_call";
    // A key without a value is none: templates ask whether it is there.
    const bool is_none = value.is_null() || (is_call && is_empty(value));
    if (key == role_key)
      read.message["role"] = role;
    else if (by_value && key == "value")
      read.message["content"] = value;
    else if (key == "content" ? !by_value : !is_flag && !is_none)
      read.message[key] = value;
  }
  check_content(read.message, turn + (from ? " value" : " content"));
  check_calls(read.message, turn);
  const Wish wish = wish_of(entry, turn);
  const bool can = learns && read.role() == "assistant";
  if (wish.learned.value_or(false) && !can)
    throw Error(turn + " " + wish.key,
                "asks to learn a turn of the " + (learns ? role : "prompt") +
                    ", and what the assistant says " + (learns ? "" : "in completion ") +
                    "is all that is learned",
                "Take the key out, or give the turn to the assistant");
  read.learned = can && wish.learned.value_or(true);
  return read;
}

// `tools` and `documents`: lists of objects, or JSON of one in a text.
ordered_json list_at(const ordered_json& row, const char* key, const std::string& where) {
  if (!has_items(row, key)) return nullptr;
  ordered_json list = row.at(key);
  if (list.is_string() && list.get_ref<const std::string&>().empty()) return nullptr;
  if (auto parsed = json_in(list, '[')) list = std::move(*parsed);
  const auto is_object = [](const ordered_json& item) { return item.is_object(); };
  if (!list.is_array() || !std::all_of(list.begin(), list.end(), is_object))
    throw Error(where + " " + key, "is not a list of objects", kRepairLine);
  if (list.empty()) return nullptr;
  return list;
}

void read_list(const ordered_json& row, const std::string& key, const std::string& where,
               bool learns, Chat& chat) {
  if (!has(row, key.c_str())) throw Error(where + " " + key, "is missing", kRepairLine);
  const ordered_json& entries = row.at(key);
  if (!entries.is_array() || entries.empty())
    throw Error(where + " " + key, "is not a list of turns", kRepairLine);
  for (size_t i = 0; i < entries.size(); ++i)
    chat.turns.push_back(
        read_turn(entries[i], where, key + "[" + std::to_string(i) + "]", learns));
}

// `prompt` and `completion` as lists of turns.
void read_pair(const ordered_json& row, const std::string& where, Chat& chat) {
  for (const char* key : {"prompt", "completion"})
    if (has(row, key) && row.at(key).is_string())
      throw Error(where + " " + key,
                  "is a text, and the other of the two is a list of turns",
                  "Write prompt and completion both as turns, or both as texts");
  read_list(row, "prompt", where, /*learns=*/false, chat);
  const Chat::Turn& last = chat.turns.back();
  if (last.role() == "assistant")
    throw Error(
        where + " " + last.place,
        "is the assistant's, and the completion would be its second turn in a row",
        "Join the two into one turn of the completion");
  const size_t prompts = chat.turns.size();
  read_list(row, "completion", where, /*learns=*/true, chat);
  for (size_t i = prompts; i < chat.turns.size(); ++i)
    if (chat.turns[i].role() != "assistant")
      throw Error(where + " " + chat.turns[i].place,
                  "is a turn of the " + chat.turns[i].role() +
                      ", and a completion has the assistant's",
                  "Write the row as messages, with weight 0 in turns not to be learned");
}

// The keys of the row that hold its turns.
std::string read_turns(const ordered_json& row, const std::string& where, Chat& chat) {
  std::vector<std::string> lists;
  for (const char* key : {"messages", "conversations"})
    if (has_items(row, key)) lists.emplace_back(key);
  for (const char* key : {"prompt", "completion"})
    if (has_items(row, key) && row.at(key).is_array()) {
      lists.emplace_back("prompt");
      break;
    }
  if (lists.size() > 1)
    throw Error(where, "has two lists of turns, " + lists[0] + " and " + lists[1],
                "Keep the one that is the chat, and take the other out");
  if (!lists.empty() && lists[0] == "prompt") {
    read_pair(row, where, chat);
    return "completion";
  }
  std::string list = lists.empty() ? "messages" : lists[0];
  if (lists.empty() && !has(row, "messages") && has(row, "conversations"))
    list = "conversations";
  read_list(row, list, where, /*learns=*/true, chat);
  return list;
}

}  // namespace

Chat read_chat(const ordered_json& row, const std::string& where) {
  Chat chat;
  const std::string list = where + " " + read_turns(row, where, chat);
  if (has(row, "system")) {
    if (chat.turns.front().role() == "system")
      throw Error(where + " system",
                  "stands beside a first turn that is the system's too",
                  "Keep one of the two");
    if (const std::string system = text_at(row, "system", where); !system.empty()) {
      Chat::Turn first;
      first.message["role"] = "system";
      first.message["content"] = system;
      first.place = "system";
      chat.turns.insert(chat.turns.begin(), std::move(first));
    }
  }
  if (std::none_of(chat.turns.begin(), chat.turns.end(),
                   [](const Chat::Turn& turn) { return turn.learned; }))
    throw Error(list, "has no turn of the assistant to learn", kRepairLine);
  if (has_items(row, "functions"))
    throw Error(where + " functions",
                "is the older form of tools, which is not read here",
                "Write tools, each {\"type\": \"function\", \"function\": {...}}");
  chat.tools = list_at(row, "tools", where);
  chat.documents = list_at(row, "documents", where);
  if (has_items(row, "chat_template_kwargs")) {
    chat.more = row.at("chat_template_kwargs");
    if (!chat.more.is_object())
      throw Error(where + " chat_template_kwargs", "is not an object", kRepairLine);
    for (const char* key : {"messages", "tools", "documents", "add_generation_prompt"})
      if (chat.more.contains(key))
        throw Error(where + " chat_template_kwargs",
                    std::string("gives ") + key + ", which the row itself does",
                    kRepairLine);
  }
  return chat;
}

}  // namespace lowmem
