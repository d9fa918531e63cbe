#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "lowmem/config/choices.h"
#include "lowmem/data/example.h"
#include "lowmem/template/template.h"
#include "lowmem/tokenizer/tokenizer.h"

namespace lowmem {

// A chat as a row has it.
struct Chat {
  struct Turn {
    nlohmann::ordered_json message;  // role, content, and what else the template may read
    bool learned = false;
    std::string place;  // where the row has it: "messages[1]"
    const std::string& role() const {
      return message.at("role").get_ref<const std::string&>();
    }
  };
  std::vector<Turn> turns;
  nlohmann::ordered_json tools, documents;  // lists of objects, or null
  nlohmann::ordered_json more;  // chat_template_kwargs: other variables, or null
};

// The chat of a row: `messages` of `role` and `content`, or `conversations` of `from` and
// `value`, in which human and gpt are user and assistant; or `prompt` and `completion`,
// both lists of such turns, of which the completion's are the assistant's and alone are
// learned. A content is a text, a list of parts {"type": "text", "text"}, or absent where
// the assistant calls a tool. A `system` beside the list is its first turn. An
// assistant's turn of `weight` 0, or with `train` or `loss` false, is read and not
// learned. Throws Error beginning with `where`, also for a turn that asks to be learned
// and is not the assistant's, and where no turn is learned.
Chat read_chat(const nlohmann::ordered_json& row, const std::string& where);

struct ChatSource;

// How a folder's chats are written, for whoever describes or carries it.
struct UsedTemplate {
  std::string text;    // Jinja
  std::string source;  // "llama3", or the file and key
  bool built_in = false;
  std::optional<int32_t> end_of_turn;  // the token that the assistant ends a turn with
};

// Writes chats by a Jinja template as transformers' apply_chat_template does: the ids are
// its ids, but for special tokens written out in a row, which are text here. (Roles are
// the template's to write with; they are single words.)
//
// Learned is what stands in `generation` blocks where the template has them. Otherwise it
// is what rendering the chat up to a turn has more than rendering it up to the turn
// before with add_generation_prompt: what the assistant says with the token that ends its
// turn, without white space behind that. Where the prompt goes on otherwise than the
// chat, as by opening a <think>, it is what follows the beginning that the two share. A
// token made of learned text and other is learned.
//
// Arguments of a call that are a JSON object in a text stay that text where the template
// writes it as it is. One that would write it in quotes, or needs an object, is given the
// object, as servers do before they render.
class ChatWriter {
 public:
  // `choice`: a built-in template's word, the name of one of the folder's, or the path of
  // a .jinja file. kAuto is the folder's `default`, or its `tool_use` for rows with
  // tools; without a template in the folder llama3 or llama2, as its tokens allow.
  // `date`: what strftime_now() says, "today" or as 2026-11-29. Refers to the tokenizer.
  // Throws Error for a template that cannot be read, and naming a token that a built-in
  // one lacks.
  ChatWriter(const OrText<ChatTemplate>& choice, const Tokenizer& tokenizer,
             const std::string& date = "today");
  ~ChatWriter();
  ChatWriter(ChatWriter&&) noexcept;

  // "llama3", "tool_use of tokenizer_config.json chat_template".
  std::string described() const;
  // Of rows without tools.
  UsedTemplate used();

  // The uncut sequence. Renders twice for each learned turn, and once for each key beside
  // role and content that is not seen in the text. Warns once of each such key that the
  // template does not write, in whatever turn. Throws Error beginning with `where` for a
  // chat that the template refuses, of which it leaves something out, or whose earlier
  // turns it rewrites.
  Example example(const Chat& chat, const std::string& where);

 private:
  class Row;

  const ChatSource& source_for(const Chat& chat) const;
  bool is_special(int32_t id);

  const Tokenizer& tokenizer_;
  jinja::RenderOptions options_;
  std::vector<ChatSource> sources_;  // the first, and the one for rows with tools
  std::vector<std::pair<std::string, jinja::Value>> names_;
  std::map<int32_t, bool> special_;  // whether a token is; those met
  std::set<std::string> told_;
  bool quiet_ = false;  // warns of nothing
};

// data.chat_date as the day it stands for: "today" is this machine's.
std::string chat_day(const std::string& date);

}  // namespace lowmem
