#include <algorithm>
#include <ctime>
#include <utility>

#include "data/chat_row.h"
#include "lowmem/core/utf8.h"

namespace lowmem {

using jinja::Value;
using nlohmann::ordered_json;

std::string chat_day(const std::string& date) {
  if (date != "today") return date;
  const std::time_t now = std::time(nullptr);
  std::tm day = {};
  localtime_r(&now, &day);
  char text[16];
  std::strftime(text, sizeof text, "%Y-%m-%d", &day);
  return text;
}

ChatWriter::ChatWriter(const OrText<ChatTemplate>& choice, const Tokenizer& tokenizer,
                       const std::string& date)
    : tokenizer_(tokenizer), sources_(chat_sources(choice, tokenizer)) {
  const std::string day = chat_day(date);
  options_.now = {std::stoi(day.substr(0, 4)), std::stoi(day.substr(5, 2)),
                  std::stoi(day.substr(8, 2))};
  for (const auto& [name, token] : tokenizer.named_tokens())
    names_.emplace_back(name, Value::text(to_utf8(token)));
}

ChatWriter::~ChatWriter() = default;
ChatWriter::ChatWriter(ChatWriter&&) noexcept = default;

// Whether a token is special: one that is not stands for itself in what a row says too.
bool ChatWriter::is_special(int32_t id) {
  const auto known = special_.find(id);
  if (known != special_.end()) return known->second;
  const std::string piece = to_utf8(tokenizer_.piece(id));
  const Tokenizer::Range all = {0, piece.size()};
  const auto parts = tokenizer_.parts(piece, {&all, 1});
  const bool special = std::none_of(parts.begin(), parts.end(),
                                    [&](const auto& part) { return part.id == id; });
  return special_[id] = special;
}

const ChatSource& ChatWriter::source_for(const Chat& chat) const {
  return chat.tools.is_null() ? sources_.front() : sources_.back();
}

std::string ChatWriter::described() const {
  std::string text = sources_.front().described;
  if (sources_.size() > 1) text += ", and with tools " + sources_.back().described;
  return text;
}

UsedTemplate ChatWriter::used() {
  const ChatSource& source = sources_.front();
  UsedTemplate used{source.text, source.described, source.built_in, std::nullopt};
  try {
    const Chat chat =
        read_chat(ordered_json::parse(R"({"messages": [{"role": "user", "content": "a"},
                                             {"role": "assistant", "content": "b"}]})"),
                  "a chat of two turns");
    quiet_ = true;
    const Example trial = example(chat, "a chat of two turns");
    for (const int32_t label : trial.labels)
      if (label != kIgnoreLabel) used.end_of_turn = label;
    if (used.end_of_turn && !is_special(*used.end_of_turn)) used.end_of_turn.reset();
  } catch (const Error&) {  // a template that refuses such a chat: no token is known
  }
  quiet_ = false;
  return used;
}

Example ChatWriter::example(const Chat& chat, const std::string& where) {
  return Row(*this, chat, where).example();
}

}  // namespace lowmem
