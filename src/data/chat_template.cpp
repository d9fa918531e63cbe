#include <algorithm>
#include <utility>

#include "data/draft.h"
#include "data/row_file.h"
#include "template/python_text.h"
#include "lowmem/core/error.h"
#include "lowmem/data/chat.h"

namespace lowmem {
namespace {

using Role = ChatTurn::Role;

constexpr std::string_view kHeaderBegin = "<|start_header_id|>",
                           kHeaderEnd = "<|end_header_id|>", kTurnEnd = "<|eot_id|>";

std::string name_of(Role role) {
  return role == Role::kSystem ? "system" : role == Role::kUser ? "user" : "assistant";
}

// Whether the Jinja text lets EOS follow a turn of the user, as TinyLlama's (and
// Zephyr's) does. Others write <|user|> too, as Tulu 3's.
bool ends_user_turns(std::string_view jinja) {
  const size_t user = jinja.find("<|user|>");
  return user != std::string_view::npos &&
         jinja.substr(user, jinja.find("}}", user) - user).find("eos_token") !=
             std::string_view::npos;
}

// What tells the three templates from each other and from their likes, in the Jinja text
// that a model comes with. Mistral's has [INST] without Llama 2's <<SYS>>.
ChatTemplate template_for(const Tokenizer& tokenizer) {
  const std::string& jinja = tokenizer.chat_template();
  const auto names = [&](std::string_view mark) {
    return jinja.find(mark) != std::string::npos;
  };
  if (names(kHeaderBegin) && names(kTurnEnd)) return ChatTemplate::kLlama3;
  if (ends_user_turns(jinja)) return ChatTemplate::kTinyLlama;
  if (names("[INST]") && names("<<SYS>>")) return ChatTemplate::kLlama2;
  if (!jinja.empty())
    throw Error("data.chat_template = auto",
                "does not know the template that the model folder names",
                "Set data.chat_template to llama2, llama3 or tinyllama");
  return tokenizer.id_of(kHeaderBegin) ? ChatTemplate::kLlama3 : ChatTemplate::kLlama2;
}

}  // namespace

// Texts and tokens of a chat, in order. What stands between two special tokens is read as
// one text.
struct ChatWriter::Writing {
  const Tokenizer& tokenizer;
  const std::string& where;
  std::vector<int32_t> reserved;  // ids that no content may have
  Draft draft = {};
  std::string given = {}, learned = {};  // the text since the last special token

  void token(int32_t id, bool is_learned) {
    end_text();
    draft.add(id, is_learned);
  }

  void end_text() {
    if (given.empty() && learned.empty()) return;
    const bool starts = draft.ids().empty();
    const auto ids = tokenizer.encode_plain(given + learned, starts);
    for (const int32_t id : reserved)
      if (std::find(ids.begin(), ids.end(), id) != ids.end())
        throw Error(where,
                    "holds text that this tokenizer reads as " + tokenizer.piece(id) +
                        ", which the chat template writes",
                    kRepairLine);
    const size_t known =
        learned.empty() ? ids.size()
        : given.empty() ? 0
                        : tokens_of_beginning(tokenizer.encode_plain(given, starts), ids);
    draft.add(ids, known);
    given.clear();
    learned.clear();
  }
};

ChatWriter::ChatWriter(ChatTemplate chat_template, const Tokenizer& tokenizer)
    : tokenizer_(tokenizer),
      template_(chat_template == ChatTemplate::kAuto ? template_for(tokenizer)
                                                     : chat_template) {
  const auto named = [&](std::optional<int32_t> id, const char* name, const char* key) {
    if (id) return *id;
    throw Error("the tokenizer",
                std::string("names no ") + name + ", which " +
                    "data.chat_template = " + std::string(word_of(template_)) + " writes",
                std::string("Name ") + key +
                    " in tokenizer_config.json, or choose another data.chat_template");
  };
  if (template_ != ChatTemplate::kTinyLlama)
    bos_ = named(tokenizer.bos_id(), "BOS", "bos_token");
  if (template_ != ChatTemplate::kLlama3) {
    eos_ = named(tokenizer.eos_id(), "EOS", "eos_token");
    return;
  }
  header_begin_ = required(kHeaderBegin);
  header_end_ = required(kHeaderEnd);
  eos_ = required(kTurnEnd);
}

int32_t ChatWriter::required(std::string_view token) const {
  if (const auto id = tokenizer_.id_of(token)) return *id;
  throw Error("the tokenizer",
              "has no token " + std::string(token) + ", which data.chat_template = " +
                  std::string(word_of(template_)) + " writes",
              "Choose another data.chat_template, or the tokenizer of a chat model");
}

Example ChatWriter::example(const std::vector<ChatTurn>& turns,
                            const std::string& where) const {
  Writing writing{tokenizer_, where, {}};
  for (const int32_t id : {bos_, eos_, header_begin_, header_end_})
    if (id >= 0) writing.reserved.push_back(id);
  switch (template_) {
    case ChatTemplate::kAuto:  // resolved in the constructor
    case ChatTemplate::kLlama2:
      write_llama2(turns, where, writing);
      break;
    case ChatTemplate::kLlama3:
      write_llama3(turns, writing);
      break;
    case ChatTemplate::kTinyLlama:
      write_tinyllama(turns, writing);
      break;
  }
  writing.end_text();
  return std::move(writing.draft).finish();
}

void ChatWriter::write_llama2(const std::vector<ChatTurn>& turns,
                              const std::string& where, Writing& writing) const {
  const bool has_system = turns.front().role == Role::kSystem;
  for (size_t i = has_system ? 1 : 0; i < turns.size(); ++i) {
    const size_t number = has_system ? i - 1 : i;
    const Role expected = number % 2 == 0 ? Role::kUser : Role::kAssistant;
    if (turns[i].role != expected)
      throw Error(where + " turn " + std::to_string(i + 1),
                  "is the " + name_of(turns[i].role) + "'s, where the template llama2 " +
                      "has the " + name_of(expected) + "'s",
                  "Let user and assistant alternate, after at most one system turn");
    std::string content = turns[i].content;
    if (number == 0 && has_system)
      content = "<<SYS>>\n" + turns.front().content + "\n<</SYS>>\n\n" + content;
    content = text::strip(content);
    if (expected == Role::kUser) {
      writing.token(bos_, false);
      writing.given = "[INST] " + content + " [/INST]";
    } else {
      const bool learned = turns[i].learned();
      (learned ? writing.learned : writing.given) += " " + content + " ";
      writing.token(eos_, learned);
    }
  }
}

void ChatWriter::write_llama3(const std::vector<ChatTurn>& turns,
                              Writing& writing) const {
  writing.token(bos_, false);
  for (const ChatTurn& turn : turns) {
    const bool learned = turn.learned();
    writing.token(header_begin_, false);
    writing.given = name_of(turn.role);
    writing.token(header_end_, false);
    writing.given = "\n\n";
    (learned ? writing.learned : writing.given) += text::strip(turn.content);
    writing.token(eos_, learned);
  }
}

void ChatWriter::write_tinyllama(const std::vector<ChatTurn>& turns,
                                 Writing& writing) const {
  for (const ChatTurn& turn : turns) {
    const bool learned = turn.learned();
    const std::string mark = "<|" + name_of(turn.role) + "|>";
    // Plain text to TinyLlama's tokenizer, a token to some others.
    if (const auto id = tokenizer_.id_of(mark))
      writing.token(*id, false);
    else
      writing.given += mark;
    writing.given += "\n";
    (learned ? writing.learned : writing.given) += turn.content;
    writing.token(eos_, learned);
    writing.given = "\n";
  }
}

}  // namespace lowmem
