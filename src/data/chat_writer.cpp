#include <algorithm>
#include <ctime>
#include <utility>

#include "data/chat_sources.h"
#include "data/draft.h"
#include "data/rendered.h"
#include "data/row_file.h"
#include "lowmem/core/error.h"
#include "lowmem/core/log.h"
#include "lowmem/core/utf8.h"
#include "lowmem/data/chat.h"
#include "template/python_text.h"

namespace lowmem {
namespace {

using jinja::Value;
using nlohmann::ordered_json;

// Sources of the bytes of a rendered chat: the template's own, what a row says anywhere,
// and from here on the content of a turn by its number.
constexpr jinja::Source kGiven = 1, kContent = 2;

jinja::Source content_of(size_t turn) { return kContent + static_cast<uint32_t>(turn); }

constexpr const char* kOneTurn =
    "Keep one turn of the assistant a row, the last; or choose another "
    "data.chat_template";

// Bytes of a text that are no white space.
size_t solid_bytes(std::string_view text) {
  size_t count = 0;
  for (size_t at = 0; at < text.size();) {
    const auto character = utf8_at(text, at);
    if (!text::is_space(character.code)) count += character.size;
    at += character.size;
  }
  return count;
}

bool is_blank(std::string_view text) { return solid_bytes(text) == 0; }

size_t solid_bytes_of(const ordered_json& content) {
  if (content.is_string()) return solid_bytes(content.get_ref<const std::string&>());
  if (content.is_object()) return content.empty() ? 0 : 1;  // in whatever form
  size_t count = 0;
  if (content.is_array())
    for (const ordered_json& part : content)
      count += solid_bytes(part.at("text").get_ref<const std::string&>());
  return count;
}

// A content of parts, as one text.
ordered_json joined(const ordered_json& parts) {
  std::string text;
  for (const ordered_json& part : parts)
    text += part.at("text").get_ref<const std::string&>();
  return text;
}

bool is_given(const ordered_json& value) {
  return !value.is_null() &&
         !((value.is_array() || value.is_object() || value.is_string()) && value.empty());
}

}  // namespace

std::string chat_day(const std::string& date) {
  if (date != "today") return date;
  const std::time_t now = std::time(nullptr);
  std::tm day = {};
  localtime_r(&now, &day);
  char text[16];
  std::strftime(text, sizeof text, "%Y-%m-%d", &day);
  return text;
}

// One row on its way: its values, made once, and what it renders to.
class ChatWriter::Row {
 public:
  Row(ChatWriter& writer, const Chat& chat, const std::string& where)
      : writer_(writer),
        chat_(chat),
        where_(where),
        template_(*writer.source_for(chat).parsed),
        reads_parts_(!writer.source_for(chat).built_in) {
    for (size_t i = 0; i < chat.turns.size(); ++i)
      messages_.push_back(message(i, /*without=*/""));
    tools_ = value_of(chat.tools, kGiven);
    documents_ = value_of(chat.documents, kGiven);
  }

  Example example() {
    const jinja::Rendered whole = render(messages_, false, tools_, documents_);
    refuse_lost_keys(whole.text);
    refuse_lost_content(whole.text);
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

 private:
  using Spans = std::vector<std::pair<size_t, size_t>>;  // bytes

  std::string turn(size_t i) const {
    if (i < chat_.beside) return where_ + " " + chat_.turns[i].role();
    return where_ + " " + chat_.list + "[" + std::to_string(i - chat_.beside) + "]";
  }

  Value value_of(const ordered_json& json, jinja::Source source) const {
    try {
      return Value::of(json, source);
    } catch (const Error& error) {
      throw Error(where_, "holds " + error.thing() + ", which " + error.problem(),
                  error.remedy());
    }
  }

  Value message(size_t i, const std::string& without) const {
    std::vector<std::pair<std::string, Value>> items;
    for (const auto& [key, value] : chat_.turns[i].message.items()) {
      if (key == without) continue;
      const jinja::Source source = key == "role"      ? jinja::kOwn
                                   : key == "content" ? content_of(i)
                                                      : kGiven;
      const bool joins = key == "content" && value.is_array() && !reads_parts_;
      items.emplace_back(key, value_of(joins ? joined(value) : value, source));
    }
    return Value::dict(std::move(items));
  }

  jinja::Rendered render(std::vector<Value> messages, bool prompt, const Value& tools,
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

  jinja::Rendered render(size_t turns, bool prompt) const {
    return render(
        {messages_.begin(), messages_.begin() + static_cast<std::ptrdiff_t>(turns)},
        prompt, tools_, documents_);
  }

  // Keys of turns, and of the row, without which the text is the same.
  void refuse_lost_keys(const jinja::Text& whole) {
    const auto changes = [&](const std::vector<Value>& messages, const Value& tools,
                             const Value& documents) {
      try {
        return render(messages, false, tools, documents).text.bytes() != whole.bytes();
      } catch (const Error&) {
        return true;  // the template cannot do without it
      }
    };
    std::map<std::string, size_t> keys;  // and the first turn that has it
    for (size_t i = 0; i < chat_.turns.size(); ++i)
      for (const auto& [key, value] : chat_.turns[i].message.items())
        if (key != "role" && key != "content" && is_given(value))
          keys.try_emplace(key, i);
    for (const auto& [key, first] : keys) {
      const bool calls = key == "tool_calls" || key == "function_call";
      if (!calls && writer_.told_.contains(key)) continue;
      std::vector<Value> without;
      for (size_t i = 0; i < chat_.turns.size(); ++i) without.push_back(message(i, key));
      if (changes(without, tools_, documents_)) continue;
      if (calls)
        throw Error(turn(first) + " " + key,
                    "is not written by the chat template " + template_.name(),
                    "Choose another data.chat_template, write the call into the turn's "
                    "content, as the model is to say it, or remove the line");
      tell(key, turn(first) + " " + key);
    }
    if (!chat_.tools.is_null() && !writer_.told_.contains("tools") &&
        !changes(messages_, Value(), documents_))
      tell("tools", where_ + " tools");
    if (!chat_.documents.is_null() && !writer_.told_.contains("documents") &&
        !changes(messages_, tools_, Value()))
      tell("documents", where_ + " documents");
  }

  void tell(const std::string& key, const std::string& thing) {
    writer_.told_.insert(key);
    log::warn(thing + ": is not written by the chat template " + template_.name() +
              "; the chats are learned without it");
  }

  // What a turn says and the text does not. The assistant's own words must all be there.
  void refuse_lost_content(const jinja::Text& whole) const {
    std::vector<size_t> written(chat_.turns.size());
    size_t begin = 0;
    for (const jinja::Text::Run& run : whole.runs()) {
      if (run.source >= kContent)
        written[run.source - kContent] +=
            solid_bytes(whole.view().substr(begin, run.end - begin));
      begin = run.end;
    }
    for (size_t i = 0; i < chat_.turns.size(); ++i) {
      const ordered_json& message = chat_.turns[i].message;
      const size_t said =
          message.contains("content") ? solid_bytes_of(message.at("content")) : 0;
      if (said > 0 && written[i] > said && message.at("content").is_array())
        throw Error(turn(i) + " content",
                    "is a list of parts, which the chat template " + template_.name() +
                        " writes with its marks and keys",
                    "Write the content as one text");
      if (said == 0 || written[i] >= said) continue;
      if (written[i] == 0)
        throw Error(turn(i) + " content",
                    "is not written by the chat template " + template_.name(),
                    "Remove the turn, or choose another data.chat_template");
      if (chat_.turns[i].learned)
        throw Error(turn(i) + " content",
                    "is written in part by the chat template " + template_.name() + ", " +
                        std::to_string(written[i]) + " bytes of " + std::to_string(said) +
                        " without blanks, as where it leaves the reasoning out",
                    kOneTurn);
    }
  }

  // A text that the tokenizer reads as a token that the template writes.
  void refuse_written_tokens(const RenderedTokens& tokens) const {
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
                          writer_.tokenizer_.piece(id) +
                          ", which the chat template writes",
                      kRepairLine);
      }
    }
  }

  // The generation blocks, of which each says what one turn does.
  Spans marked(const jinja::Rendered& whole) const {
    std::vector<size_t> spoken;
    for (size_t i = 0; i < chat_.turns.size(); ++i)
      if (chat_.turns[i].role() == "assistant") spoken.push_back(i);
    const auto learns = [&](size_t i) { return chat_.turns[i].learned; };
    if (whole.generation.size() != spoken.size()) {
      if (!std::all_of(spoken.begin(), spoken.end(), learns) || whole.generation.empty())
        throw Error(where_,
                    "has " + std::to_string(spoken.size()) +
                        " turns of the assistant, and the chat template " +
                        template_.name() + " marks " +
                        std::to_string(whole.generation.size()) + " as generated",
                    "Learn all of the turns, or choose another data.chat_template");
      return whole.generation;
    }
    Spans spans;
    for (size_t i = 0; i < spoken.size(); ++i)
      if (learns(spoken[i])) spans.push_back(whole.generation[i]);
    return spans;
  }

  [[noreturn]] void refuse_rewriting(size_t i) const {
    throw Error(
        turn(i),
        "is written in another way by the chat template " + template_.name() +
            " when a turn follows, as where it leaves out earlier reasoning: what "
            "is learned of it cannot be told",
        kOneTurn);
  }

  Spans differences(const jinja::Text& whole, const RenderedTokens& tokens) const {
    Spans spans;
    for (size_t i = 0; i < chat_.turns.size(); ++i)
      if (chat_.turns[i].learned) {
        const size_t begin = beginning(whole, i);
        spans.emplace_back(begin, ending(whole, tokens, i, begin));
      }
    return spans;
  }

  // Where what turn `i` says begins: behind what prompts for it.
  size_t beginning(const jinja::Text& whole, size_t i) const {
    if (i > 0) {
      const jinja::Text prompt = render(i, true).text;
      if (!whole.bytes().starts_with(prompt.bytes())) refuse_rewriting(i);
      return prompt.size();
    }
    // Nothing prompts for the first turn: its own words.
    size_t begin = 0;
    for (const jinja::Text::Run& run : whole.runs()) {
      if (run.source == content_of(0)) return begin;
      begin = run.end;
    }
    refuse_rewriting(i);
  }

  // And where it ends: with the last token written out in what the turn adds.
  size_t ending(const jinja::Text& whole, const RenderedTokens& tokens, size_t i,
                size_t begin) const {
    const size_t count = chat_.turns.size();
    jinja::Text shorter;
    if (i + 1 < count) shorter = render(i + 1, false).text;
    const jinja::Text& after = i + 1 < count ? shorter : whole;
    const auto differ = std::mismatch(after.bytes().begin(), after.bytes().end(),
                                      whole.bytes().begin(), whole.bytes().end());
    const auto same = static_cast<size_t>(differ.first - after.bytes().begin());
    // Behind a chat's last turn a template may write an ending of its own.
    size_t run_begin = 0;
    for (const jinja::Text::Run& run : after.runs()) {
      if (run.end > same && run.source != jinja::kOwn &&
          !is_blank(after.view().substr(std::max(run_begin, same),
                                        run.end - std::max(run_begin, same))))
        refuse_rewriting(i);
      run_begin = run.end;
    }
    if (same < begin) refuse_rewriting(i);
    const size_t token = tokens.last_written_token(begin, same);
    const bool whole_turn = same == after.size();
    if (token > begin &&
        (!whole_turn || is_blank(whole.view().substr(token, same - token))))
      return token;
    if (!whole_turn || same == begin) refuse_rewriting(i);
    return same;
  }

  ChatWriter& writer_;
  const Chat& chat_;
  const std::string& where_;
  const jinja::Template& template_;
  const bool reads_parts_;  // a content that is a list; else it gets one text
  std::vector<Value> messages_;
  Value tools_, documents_;
};

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
    const Example trial = example(chat, "a chat of two turns");
    for (const int32_t label : trial.labels)
      if (label != kIgnoreLabel) used.end_of_turn = label;
    if (used.end_of_turn && !is_special(*used.end_of_turn)) used.end_of_turn.reset();
  } catch (const Error&) {  // a template that refuses such a chat: no token is known
  }
  return used;
}

Example ChatWriter::example(const Chat& chat, const std::string& where) {
  return Row(*this, chat, where).example();
}

}  // namespace lowmem
