#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "lowmem/data/chat.h"

namespace lowmem::train {

// How a run's chats were written.
struct ChatUse {
  UsedTemplate used;
  bool is_default = false;  // of the model's folder, so that its result has it already
  std::string turn_end;     // the text of used.end_of_turn; empty: not known
};
ChatUse chat_use(ChatWriter& writer, const Tokenizer& tokenizer);

// Makes the files of a trained model's folder say so: the template becomes its default
// one (chat_template.jinja, and tokenizer_config.json where that has one), and the token
// that ends the assistant's turns its EOS: the tokenizer's, and one of those that end a
// generation (generation_config.json). Changes nothing that says so already. A folder
// without these files gets them.
void write_chat_files(const std::filesystem::path& model, const ChatUse& chat);

}  // namespace lowmem::train
