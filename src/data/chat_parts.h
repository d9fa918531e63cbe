#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "lowmem/data/chat.h"
#include "lowmem/template/value.h"

// Who wrote which bytes of a rendered chat.
namespace lowmem {

// Sources of these bytes: the template's own (jinja::kOwn), what a row says anywhere, its
// tools and documents, and from here on the content of a turn by its number. Behind those
// are the parts of ChatParts.
inline constexpr jinja::Source kGiven = 1, kTools = 2, kDocuments = 3, kContent = 4;

inline jinja::Source content_of(size_t turn) {
  return kContent + static_cast<jinja::Source>(turn);
}

// Something that a turn says beside its role and content: a key of its message, or of a
// call its name and its arguments.
struct ChatPart {
  size_t turn;
  std::string key;  // of the message: "tool_calls"
  nlohmann::ordered_json::json_pointer path;
  jinja::Source source;

  bool is_call() const { return key == "tool_calls" || key == "function_call"; }
  // "tool_calls[0].function.arguments"
  std::string shown() const;
};

// The messages of a chat as a template gets them, each part with a source of its own.
class ChatParts {
 public:
  using Json = nlohmann::ordered_json;

  // `joins`: a content that is a list of parts becomes one text.
  ChatParts(const Chat& chat, bool joins);

  const std::vector<ChatPart>& parts() const { return parts_; }
  const Json& at(const ChatPart& part) const {
    return messages_[part.turn].at(part.path);
  }

  // Throws Error for a number that is none here.
  std::vector<jinja::Value> values() const;
  // Of one turn, without the part.
  jinja::Value value_without(const ChatPart& part) const;

  // Arguments of calls that are a text; `json`: one that holds a JSON object.
  std::vector<const ChatPart*> text_arguments(bool json) const;
  // The same with those that hold an object as the object, and the others, where `all`,
  // as an empty one.
  ChatParts with_objects(bool all) const;

 private:
  jinja::Value value(const Json& message, size_t turn) const;
  void find_parts();

  std::vector<Json> messages_;
  std::vector<ChatPart> parts_;
};

// JSON in a text, where it is a list or an object: `bracket` begins it.
std::optional<nlohmann::ordered_json> json_in(const nlohmann::ordered_json& value,
                                              char bracket);

}  // namespace lowmem
