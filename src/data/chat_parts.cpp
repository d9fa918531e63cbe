#include "data/chat_parts.h"

#include <map>
#include <utility>

#include "lowmem/core/files.h"

namespace lowmem {
namespace {

using jinja::Value;
using Json = nlohmann::ordered_json;
using Path = Json::json_pointer;
using Sources = std::map<std::string, jinja::Source>;  // by path

bool is_given(const Json& value) {
  return !value.is_null() &&
         !((value.is_array() || value.is_object() || value.is_string()) && value.empty());
}

// A content of parts, as one text.
Json joined(const Json& parts) {
  std::string text;
  for (const Json& part : parts) text += part.at("text").get_ref<const std::string&>();
  return text;
}

Value value_of(const Json& json, const Path& path, const Sources& sources) {
  const std::string name = path.to_string();
  if (const auto own = sources.find(name); own != sources.end())
    return Value::of(json, own->second);
  const auto below = sources.lower_bound(name + "/");
  if (below == sources.end() || !below->first.starts_with(name + "/"))
    return Value::of(json, kGiven);
  if (json.is_array()) {
    std::vector<Value> items;
    for (size_t i = 0; i < json.size(); ++i)
      items.push_back(value_of(json[i], path / i, sources));
    return Value::list(std::move(items));
  }
  std::vector<std::pair<Value, Value>> items;
  for (const auto& [key, item] : json.items())
    items.emplace_back(Value::of(key, kGiven), value_of(item, path / key, sources));
  return Value::dict(std::move(items));
}

// Paths of a call's name and arguments, or of the call where it has neither.
std::vector<Path> paths_of(const Json& call, const Path& at) {
  const bool nested = call.contains("function") && call["function"].is_object();
  const Json& function = nested ? call["function"] : call;
  std::vector<Path> paths;
  for (const char* key : {"name", "arguments"})
    if (function.contains(key) && is_given(function[key]))
      paths.push_back((nested ? at / "function" : at) / key);
  if (paths.empty()) paths.push_back(at);
  return paths;
}

}  // namespace

std::string ChatPart::shown() const {
  std::string text;
  for (Path rest = path; !rest.empty(); rest.pop_back()) {
    const std::string& name = rest.back();
    const bool number = name.find_first_not_of("0123456789") == std::string::npos;
    text = (number ? "[" + name + "]" : "." + name) + text;
  }
  return text.substr(text.starts_with('.') ? 1 : 0);
}

ChatParts::ChatParts(const Chat& chat, bool joins) {
  for (const Chat::Turn& turn : chat.turns) {
    messages_.push_back(turn.message);
    if (joins && turn.message.contains("content") && turn.message["content"].is_array())
      messages_.back()["content"] = joined(turn.message["content"]);
  }
  find_parts();
}

void ChatParts::find_parts() {
  parts_.clear();
  const auto add = [&](size_t turn, const std::string& key, const Path& path) {
    const size_t number = messages_.size() + parts_.size();
    parts_.push_back({turn, key, path, content_of(number)});
  };
  for (size_t i = 0; i < messages_.size(); ++i)
    for (const auto& [key, value] : messages_[i].items()) {
      if (key == "role" || key == "content" || !is_given(value)) continue;
      const Path at = Path() / key;
      if (key == "tool_calls" && value.is_array()) {
        for (size_t call = 0; call < value.size(); ++call)
          for (const Path& path : paths_of(value[call], at / call)) add(i, key, path);
      } else if (key == "function_call" && value.is_object()) {
        for (const Path& path : paths_of(value, at)) add(i, key, path);
      } else {
        add(i, key, at);
      }
    }
}

Value ChatParts::value(const Json& message, size_t turn) const {
  Sources sources = {{"/role", jinja::kOwn}, {"/content", content_of(turn)}};
  for (const ChatPart& part : parts_)
    if (part.turn == turn) sources.emplace(part.path.to_string(), part.source);
  return value_of(message, Path(), sources);
}

std::vector<Value> ChatParts::values() const {
  std::vector<Value> values;
  for (size_t i = 0; i < messages_.size(); ++i) values.push_back(value(messages_[i], i));
  return values;
}

Value ChatParts::value_without(const ChatPart& part) const {
  Json message = messages_[part.turn];
  Json& parent = message[part.path.parent_pointer()];
  const std::string& name = part.path.back();
  if (parent.is_array())
    parent.erase(std::stoul(name));
  else
    parent.erase(name);
  return value(message, part.turn);
}

std::vector<const ChatPart*> ChatParts::text_arguments(bool json) const {
  std::vector<const ChatPart*> found;
  for (const ChatPart& part : parts_)
    if (part.is_call() && part.path.back() == "arguments" && at(part).is_string() &&
        json_in(at(part), '{').has_value() == json)
      found.push_back(&part);
  return found;
}

ChatParts ChatParts::with_objects(bool all) const {
  ChatParts other = *this;
  for (const ChatPart* part : text_arguments(true))
    other.messages_[part->turn][part->path] = *json_in(at(*part), '{');
  if (all)
    for (const ChatPart* part : text_arguments(false))
      other.messages_[part->turn][part->path] = Json::object();
  other.find_parts();
  return other;
}

std::optional<Json> json_in(const Json& value, char bracket) {
  if (!value.is_string()) return std::nullopt;
  const std::string& text = value.get_ref<const std::string&>();
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string::npos || text[begin] != bracket || is_nested_deeper(text, 32))
    return std::nullopt;
  Json parsed = Json::parse(text, nullptr, false);
  if (parsed.is_discarded()) return std::nullopt;
  return parsed;
}

}  // namespace lowmem
