// What a row says and the rendered text does not: refused or warned of.
#include <algorithm>
#include <map>

#include "data/chat_row.h"
#include "data/row_file.h"
#include "lowmem/core/log.h"

namespace lowmem {

using jinja::Value;
using nlohmann::ordered_json;

namespace {

size_t solid_bytes_of(const ordered_json& content) {
  if (content.is_string()) return solid_bytes(content.get_ref<const std::string&>());
  if (content.is_object()) return content.empty() ? 0 : 1;  // in whatever form
  size_t count = 0;
  if (content.is_array())
    for (const ordered_json& part : content)
      count += solid_bytes(part.at("text").get_ref<const std::string&>());
  return count;
}

}  // namespace

// What turns, and the row, give beside roles and contents, and without which the text is
// the same.
void ChatWriter::Row::refuse_lost_keys(const jinja::Text& whole,
                                       const std::vector<size_t>& written) {
  const auto changes = [&](const std::vector<Value>& messages, const Value& tools,
                           const Value& documents) {
    try {
      return render(messages, false, tools, documents).text.bytes() != whole.bytes();
    } catch (const Error&) {
      return true;  // the template cannot do without it
    }
  };
  struct Count {
    size_t parts = 0;
    std::vector<const ChatPart*> lost;
  };
  std::map<std::string, Count> keys;
  for (const ChatPart& part : parts_.parts()) {
    Count& count = keys[part.key];
    ++count.parts;
    if (written[part.source] > 0) continue;
    if (!part.is_call() && writer_.told_.contains(part.key)) continue;
    std::vector<Value> without = messages_;
    without[part.turn] = parts_.value_without(part);
    if (!changes(without, tools_, documents_)) count.lost.push_back(&part);
  }
  for (const auto& [key, count] : keys) {
    if (count.lost.empty()) continue;
    const ChatPart& first = *count.lost.front();
    const bool all = count.lost.size() == count.parts;
    if (first.is_call())
      throw Error(all ? turn(first.turn) + " " + key : named_part(first),
                  "is not written by the chat template " + template_.name(),
                  "Choose another data.chat_template, write the call into the turn's "
                  "content, as the model is to say it, or remove the line");
    tell(key, named_part(first), all ? "" : " in this turn");
  }
  if (!chat_.tools.is_null() && written[kTools] == 0 &&
      !writer_.told_.contains("tools") && !changes(messages_, Value(), documents_))
    tell("tools", where_ + " tools");
  if (!chat_.documents.is_null() && written[kDocuments] == 0 &&
      !writer_.told_.contains("documents") && !changes(messages_, tools_, Value()))
    tell("documents", where_ + " documents");
  if (chat_.more.is_object())
    for (const auto& [name, value] : chat_.more.items())
      if (!template_.names(name))
        tell("chat_template_kwargs " + name, where_ + " chat_template_kwargs " + name);
}

void ChatWriter::Row::tell(const std::string& key, const std::string& thing,
                           const std::string& place) {
  if (writer_.quiet_ || !writer_.told_.insert(key).second) return;
  log::warn(thing + ": is not written by the chat template " + template_.name() + place +
            "; the chats are learned without it");
}

// What a turn says and the text does not. The assistant's own words must all be there.
void ChatWriter::Row::refuse_lost_content(const std::vector<size_t>& by_source) const {
  const auto written = [&](size_t turn) { return by_source[content_of(turn)]; };
  for (size_t i = 0; i < chat_.turns.size(); ++i) {
    const ordered_json& message = chat_.turns[i].message;
    const size_t said =
        message.contains("content") ? solid_bytes_of(message.at("content")) : 0;
    if (said > 0 && written(i) > said && message.at("content").is_array())
      throw Error(turn(i) + " content",
                  "is a list of parts, which the chat template " + template_.name() +
                      " writes with its marks and keys",
                  "Write the content as one text");
    if (said == 0 && chat_.turns[i].learned) refuse_empty(i, by_source);
    if (said == 0 || written(i) >= said) continue;
    if (written(i) == 0)
      throw Error(turn(i) + " content",
                  "is not written by the chat template " + template_.name(),
                  "Remove the turn, or choose another data.chat_template");
    if (chat_.turns[i].learned)
      throw Error(turn(i) + " content",
                  "is written in part by the chat template " + template_.name() + ", " +
                      std::to_string(written(i)) + " bytes of " + std::to_string(said) +
                      " without blanks, as where it leaves the reasoning out",
                  writes_whole(i, said)
                      ? kOneTurn
                      : "Choose another data.chat_template, such as a "
                        "copy of this one that writes the content whole");
  }
}

// Whether the template writes what a turn says where none follows.
bool ChatWriter::Row::writes_whole(size_t i, size_t said) const {
  return i + 1 < chat_.turns.size() &&
         bytes_by_source(render(i + 1, false).text)[content_of(i)] >= said;
}

// A turn without a content, of which nothing else is written.
void ChatWriter::Row::refuse_empty(size_t i, const std::vector<size_t>& by_source) const {
  for (const ChatPart& part : parts_.parts())
    if (part.turn == i && part.key != "name" && by_source[part.source] > 0) return;
  throw Error(turn(i) + " content", "is empty, and an empty answer would be learned",
              "Write what the assistant says, or give the turn weight 0");
}

// A text that the tokenizer reads as a token that the template writes.
void ChatWriter::Row::refuse_written_tokens(const RenderedTokens& tokens) const {
  std::vector<int32_t> reserved;
  for (const auto id : {writer_.tokenizer_.bos_id(), writer_.tokenizer_.eos_id()})
    if (id) reserved.push_back(*id);
  for (const auto& part : tokens.parts())
    if (part.id && writer_.is_special(*part.id) &&
        std::find(reserved.begin(), reserved.end(), *part.id) == reserved.end())
      reserved.push_back(*part.id);
  for (const auto& part : tokens.parts()) {
    if (part.id) continue;
    for (size_t i = part.first; i < part.first + part.count; ++i) {
      const int32_t id = tokens.ids()[i];
      if (std::find(reserved.begin(), reserved.end(), id) != reserved.end())
        throw Error(where_,
                    "holds text that this tokenizer reads as " +
                        writer_.tokenizer_.piece(id) + ", which the chat template writes",
                    kRepairLine);
    }
  }
}

}  // namespace lowmem
