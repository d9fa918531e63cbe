#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/chat_parts.h"
#include "data/chat_sources.h"
#include "data/rendered.h"
#include "lowmem/core/error.h"
#include "lowmem/data/chat.h"

namespace lowmem {

// Bytes of a text that are no white space.
size_t solid_bytes(std::string_view text);
inline bool is_blank(std::string_view text) { return solid_bytes(text) == 0; }

inline constexpr const char* kOneTurn =
    "Keep one turn of the assistant a row, the last; or choose another "
    "data.chat_template";

// One row on its way: its values, made once, and what it renders to.
class ChatWriter::Row {
 public:
  Row(ChatWriter& writer, const Chat& chat, const std::string& where);

  Example example();

 private:
  using Value = jinja::Value;
  using Spans = std::vector<std::pair<size_t, size_t>>;  // bytes

  std::string turn(size_t i) const { return where_ + " " + chat_.turns[i].place; }
  std::string named_part(const ChatPart& part) const {
    return turn(part.turn) + " " + part.shown();
  }

  // chat_row.cpp: values and texts.
  template <class Make>
  auto named(Make&& make) const;
  Value value_of(const nlohmann::ordered_json& json, jinja::Source source) const;
  void take_values();
  jinja::Rendered render(std::vector<Value> messages, bool prompt, const Value& tools,
                         const Value& documents) const;
  jinja::Rendered render(size_t turns, bool prompt) const;
  jinja::Rendered render_whole() const;
  bool renders(const std::vector<Value>& messages) const;
  bool needs_objects();
  bool is_written_as_it_is(const ChatPart& part, const jinja::Text& whole) const;
  std::vector<size_t> bytes_by_source(const jinja::Text& whole) const;

  // chat_losses.cpp: what a row says and the text does not.
  void refuse_lost_keys(const jinja::Text& whole, const std::vector<size_t>& written);
  void tell(const std::string& key, const std::string& thing,
            const std::string& place = "");
  void refuse_lost_content(const std::vector<size_t>& by_source) const;
  bool writes_whole(size_t i, size_t said) const;
  void refuse_empty(size_t i, const std::vector<size_t>& by_source) const;
  void refuse_written_tokens(const RenderedTokens& tokens) const;

  // chat_spans.cpp: what of the text is learned.
  Spans marked(const jinja::Rendered& whole) const;
  [[noreturn]] void refuse_rewriting(size_t i) const;
  Spans differences(const jinja::Text& whole, const RenderedTokens& tokens) const;
  size_t behind_shared_prompt(const jinja::Text& whole, const jinja::Text& prompt,
                              size_t i) const;
  size_t beginning(const jinja::Text& whole, size_t i) const;
  size_t ending(const jinja::Text& whole, const RenderedTokens& tokens, size_t i,
                size_t begin) const;

  ChatWriter& writer_;
  const Chat& chat_;
  const std::string& where_;
  const jinja::Template& template_;
  ChatParts parts_;
  std::vector<Value> messages_;
  Value tools_, documents_;
};

}  // namespace lowmem
