#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "lowmem/config/choices.h"
#include "lowmem/data/example.h"
#include "lowmem/tokenizer/tokenizer.h"

namespace lowmem {

struct ChatTurn {
  enum class Role { kSystem, kUser, kAssistant } role = Role::kUser;
  std::string content;
  bool left_out = false;  // of the assistant's: read, and not learned

  bool learned() const { return role == Role::kAssistant && !left_out; }
};

// The turns of a row: `messages` of `role` and `content`, or `conversations` of `from`
// and `value`, in which human and gpt are user and assistant. A `system` beside the list
// is its first turn. An assistant's turn of `weight` 0, or with `train` or `loss` false,
// is read and not learned. Throws Error beginning with `where`, also where the assistant
// says nothing, or calls a tool, which none of the templates writes.
std::vector<ChatTurn> read_turns(const nlohmann::json& row, const std::string& where);

// Writes chats as a template has them. The templates are those that Meta and TinyLlama
// publish with their models:
//
//   llama2      BOS "[INST] " user " [/INST]" " " assistant " " EOS, each pair. The
//   system
//               turn stands in the first user's: "<<SYS>>\n" system "\n<</SYS>>\n\n"
//               user. User and assistant alternate.
//   llama3      BOS, then each turn: <|start_header_id|> role <|end_header_id|> "\n\n"
//               content <|eot_id|>. (Llama 3.1 puts a date before them, which is left to
//               the system turn here.)
//   tinyllama   "<|role|>\n" content EOS "\n", each turn, without BOS
//
// llama2 and llama3 take white space off both ends of a content. Ids and learned tokens
// are those of transformers' apply_chat_template, but for special tokens written out in a
// content, which are text here.
class ChatWriter {
 public:
  // kAuto is the template that the tokenizer's folder names, where it is one of these;
  // without one, what its tokens allow. Throws Error naming a token that is missing.
  ChatWriter(ChatTemplate chat_template, const Tokenizer& tokenizer);

  ChatTemplate chat_template() const { return template_; }

  // The uncut sequence. Learned is what the assistant says with the token that ends its
  // turn. Throws Error beginning with `where` for turns in an order that the template
  // does not have. Refers to the tokenizer.
  Example example(const std::vector<ChatTurn>& turns, const std::string& where) const;

 private:
  struct Writing;
  int32_t required(std::string_view token) const;
  void write_llama2(const std::vector<ChatTurn>& turns, const std::string& where,
                    Writing& writing) const;
  void write_llama3(const std::vector<ChatTurn>& turns, Writing& writing) const;
  void write_tinyllama(const std::vector<ChatTurn>& turns, Writing& writing) const;

  const Tokenizer& tokenizer_;
  ChatTemplate template_;
  int32_t bos_ = -1, eos_ = -1;  // EOS, or <|eot_id|>: what ends a turn
  int32_t header_begin_ = -1, header_end_ = -1;
};

}  // namespace lowmem
