#include "data/chat_row.h"

#include <algorithm>

#include "data/draft.h"
#include "lowmem/core/log.h"
#include "lowmem/core/utf8.h"
#include "template/python_text.h"

namespace lowmem {

using jinja::Value;
using nlohmann::ordered_json;

size_t solid_bytes(std::string_view text) {
  size_t count = 0;
  for (size_t at = 0; at < text.size();) {
    const auto character = utf8_at(text, at);
    if (!text::is_space(character.code)) count += character.size;
    at += character.size;
  }
  return count;
}

ChatWriter::Row::Row(ChatWriter& writer, const Chat& chat, const std::string& where)
    : writer_(writer),
      chat_(chat),
      where_(where),
      template_(*writer.source_for(chat).parsed),
      parts_(chat, /*joins=*/writer.source_for(chat).built_in),
      tools_(value_of(chat.tools, kTools)),
      documents_(value_of(chat.documents, kDocuments)) {
  take_values();
  if (!parts_.text_arguments(/*json=*/true).empty() && needs_objects()) {
    parts_ = parts_.with_objects(/*all=*/false);
    take_values();
  }
}

template <class Make>
auto ChatWriter::Row::named(Make&& make) const {
  try {
    return make();
  } catch (const Error& error) {
    throw Error(where_, "holds " + error.thing() + ", which " + error.problem(),
                error.remedy());
  }
}

Example ChatWriter::Row::example() {
  const jinja::Rendered whole = render_whole();
  const auto written = bytes_by_source(whole.text);
  refuse_lost_keys(whole.text, written);
  refuse_lost_content(written);
  const RenderedTokens tokens(whole.text, writer_.tokenizer_);
  refuse_written_tokens(tokens);
  const auto spans =
      template_.marks_generation() ? marked(whole) : differences(whole.text, tokens);
  std::vector<bool> learned(tokens.ids().size());
  for (const auto& [begin, end] : spans) {
    const auto [first, last] = tokens.tokens_of(begin, end);
    for (size_t i = first; i < last; ++i) learned[i] = true;
  }
  Draft draft;
  for (size_t i = 0; i < learned.size(); ++i) draft.add(tokens.ids()[i], learned[i]);
  return std::move(draft).finish();
}

Value ChatWriter::Row::value_of(const ordered_json& json, jinja::Source source) const {
  return named([&] { return Value::of(json, source); });
}

void ChatWriter::Row::take_values() {
  messages_ = named([&] { return parts_.values(); });
}

jinja::Rendered ChatWriter::Row::render(std::vector<Value> messages, bool prompt,
                                        const Value& tools,
                                        const Value& documents) const {
  auto variables = writer_.names_;
  variables.emplace_back("messages", Value::list(std::move(messages)));
  variables.emplace_back("tools", tools);
  variables.emplace_back("documents", documents);
  variables.emplace_back("add_generation_prompt", prompt);
  if (chat_.more.is_object())
    for (const auto& [name, value] : chat_.more.items())
      variables.emplace_back(name, value_of(value, kGiven));
  try {
    return template_.render(variables, writer_.options_);
  } catch (const Error& error) {
    throw Error(where_,
                "cannot be written by the chat template: " + error.thing() + " " +
                    error.problem(),
                error.remedy());
  }
}

jinja::Rendered ChatWriter::Row::render(size_t turns, bool prompt) const {
  return render(
      {messages_.begin(), messages_.begin() + static_cast<std::ptrdiff_t>(turns)}, prompt,
      tools_, documents_);
}

jinja::Rendered ChatWriter::Row::render_whole() const {
  try {
    return render(messages_, false, tools_, documents_);
  } catch (const Error&) {
    const auto texts = parts_.text_arguments(/*json=*/false);
    if (texts.empty() || !renders(parts_.with_objects(/*all=*/true).values())) throw;
    throw Error(named_part(*texts.front()),
                "is a text that holds no JSON object, which the chat template " +
                    template_.name() + " needs",
                "Write the arguments as an object, or as JSON of one in a text");
  }
}

bool ChatWriter::Row::renders(const std::vector<Value>& messages) const {
  try {
    render(messages, false, tools_, documents_);
    return true;
  } catch (const Error&) {
    return false;
  }
}

// Whether arguments that are JSON in a text must be objects to this template: it fails
// over the text, or writes another than the one that the row has.
bool ChatWriter::Row::needs_objects() {
  jinja::Rendered whole;
  try {
    whole = render(messages_, false, tools_, documents_);
  } catch (const Error&) {
    return true;
  }
  for (const ChatPart* part : parts_.text_arguments(/*json=*/true))
    if (!is_written_as_it_is(*part, whole.text)) {
      const std::string key = "arguments in a text";
      if (!writer_.quiet_ && writer_.told_.insert(key).second)
        log::warn(named_part(*part) + ": is JSON in a text, which the chat template " +
                  template_.name() +
                  " would quote; such arguments are learned as the object they hold");
      return true;
    }
  return false;
}

bool ChatWriter::Row::is_written_as_it_is(const ChatPart& part,
                                          const jinja::Text& whole) const {
  const std::string& given = parts_.at(part).get_ref<const std::string&>();
  bool written = false;
  size_t begin = 0;
  for (const jinja::Text::Run& run : whole.runs()) {
    if (run.source == part.source) {
      const bool in_quotes = begin > 0 && whole.view()[begin - 1] == '"' &&
                             whole.view().substr(run.end).starts_with('"');
      if (in_quotes || whole.view().substr(begin, run.end - begin) != given) return false;
      written = true;
    }
    begin = run.end;
  }
  return written;
}

// Bytes that are no white space, by their source.
std::vector<size_t> ChatWriter::Row::bytes_by_source(const jinja::Text& whole) const {
  std::vector<size_t> written(kContent + messages_.size() + parts_.parts().size());
  size_t begin = 0;
  for (const jinja::Text::Run& run : whole.runs()) {
    written[run.source] += solid_bytes(whole.view().substr(begin, run.end - begin));
    begin = run.end;
  }
  return written;
}

}  // namespace lowmem
