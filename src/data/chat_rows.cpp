// {"messages": [{"role": ..., "content": ...}, ...]} and its older form,
// {"conversations": [{"from": ..., "value": ...}, ...]}.
#include <algorithm>
#include <array>
#include <utility>

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

// Whether the assistant is not to learn this turn: `weight` as OpenAI's files have it,
// `train` and `loss` as others'.
bool is_left_out(const ordered_json& entry, const std::string& turn) {
  bool left_out = false;
  if (has(entry, "weight")) {
    const auto& weight = entry.at("weight");
    if (!weight.is_number() || (weight != 0 && weight != 1))
      throw Error(turn + " weight", "is neither 0 nor 1",
                  "Write one of them: turns are learned or not");
    left_out = weight == 0;
  }
  for (const char* key : {"train", "loss"}) {
    if (!has(entry, key)) continue;
    if (!entry.at(key).is_boolean())
      throw Error(turn + " " + key, "is neither true nor false", kRepairLine);
    left_out = left_out || !entry.at(key).get<bool>();
  }
  return left_out;
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

// JSON in a text, where it is a list or an object.
std::optional<ordered_json> json_in(const ordered_json& value, char bracket) {
  if (!value.is_string()) return std::nullopt;
  const std::string& text = value.get_ref<const std::string&>();
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string::npos || text[begin] != bracket || is_nested_deeper(text, 32))
    return std::nullopt;
  ordered_json parsed = ordered_json::parse(text, nullptr, false);
  if (parsed.is_discarded()) return std::nullopt;
  return parsed;
}

void read_arguments(ordered_json& message, const std::string& turn) {
  if (!has_items(message, "tool_calls")) return;
  ordered_json& calls = message["tool_calls"];
  const auto is_object = [](const ordered_json& call) { return call.is_object(); };
  if (!calls.is_array() || !std::all_of(calls.begin(), calls.end(), is_object))
    throw Error(turn + " tool_calls", "is not a list of objects", kRepairLine);
  for (ordered_json& call : calls) {
    ordered_json& function = call.contains("function") && call["function"].is_object()
                                 ? call["function"]
                                 : call;
    if (!function.contains("arguments")) continue;
    if (auto parsed = json_in(function["arguments"], '{'))
      function["arguments"] = std::move(*parsed);
  }
}

Chat::Turn read_turn(const ordered_json& entry, const std::string& turn) {
  if (!entry.is_object()) throw Error(turn, "is not an object", kRepairLine);
  const bool from = has(entry, "from") && !has(entry, "role");
  const char* role_key = from ? "from" : "role";
  const std::string role = role_of(text_at(entry, role_key, turn), turn + " " + role_key);
  Chat::Turn read;
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
  read_arguments(read.message, turn);
  const bool left_out = is_left_out(entry, turn);
  read.learned = read.role() == "assistant" && !left_out;
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

}  // namespace

Chat read_chat(const ordered_json& row, const std::string& where) {
  Chat chat;
  chat.list =
      !has(row, "messages") && has(row, "conversations") ? "conversations" : "messages";
  const std::string list = where + " " + chat.list;
  if (!has(row, chat.list.c_str())) throw Error(list, "is missing", kRepairLine);
  const ordered_json& entries = row.at(chat.list);
  if (!entries.is_array() || entries.empty())
    throw Error(list, "is not a list of turns", kRepairLine);
  for (const ordered_json& entry : entries)
    chat.turns.push_back(
        read_turn(entry, list + "[" + std::to_string(chat.turns.size()) + "]"));
  if (has(row, "system")) {
    if (chat.turns.front().role() == "system")
      throw Error(where + " system",
                  "stands beside a first turn that is the system's too",
                  "Keep one of the two");
    if (const std::string system = text_at(row, "system", where); !system.empty()) {
      Chat::Turn first;
      first.message["role"] = "system";
      first.message["content"] = system;
      chat.turns.insert(chat.turns.begin(), std::move(first));
      chat.beside = 1;
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
