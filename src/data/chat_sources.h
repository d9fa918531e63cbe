#pragma once

#include <memory>
#include <string>
#include <vector>

#include "lowmem/data/chat.h"

namespace lowmem {

// A template that is chosen.
struct ChatSource {
  std::string text, described;
  bool built_in = false;
  std::shared_ptr<const jinja::Template> parsed;
};

// What writes the chats, and behind it what writes those with tools where that is
// another.
std::vector<ChatSource> chat_sources(const OrText<ChatTemplate>& choice,
                                     const Tokenizer& tokenizer);

}  // namespace lowmem
