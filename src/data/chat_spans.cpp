// What of a rendered chat is learned.
#include <algorithm>

#include "data/chat_row.h"
#include "lowmem/core/log.h"

namespace lowmem {

using nlohmann::ordered_json;

namespace {

bool is_utf8_continuation(char byte) { return (byte & 0xC0) == 0x80; }

std::string quoted(std::string_view text) {
  constexpr size_t kShown = 40;
  return ordered_json(std::string(text.substr(0, kShown)))
      .dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

}  // namespace

// The generation blocks, of which each says what one turn does.
ChatWriter::Row::Spans ChatWriter::Row::marked(const jinja::Rendered& whole) const {
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

void ChatWriter::Row::refuse_rewriting(size_t i) const {
  throw Error(turn(i),
              "is written in another way by the chat template " + template_.name() +
                  " when a turn follows, as where it leaves out earlier reasoning: what "
                  "is learned of it cannot be told",
              kOneTurn);
}

ChatWriter::Row::Spans ChatWriter::Row::differences(const jinja::Text& whole,
                                                    const RenderedTokens& tokens) const {
  Spans spans;
  for (size_t i = 0; i < chat_.turns.size(); ++i)
    if (chat_.turns[i].learned) {
      const size_t begin = beginning(whole, i);
      spans.emplace_back(begin, ending(whole, tokens, i, begin));
    }
  return spans;
}

// Where a prompt goes on otherwise than the chat does, as DeepSeek-R1's, which opens a
// <think> that its chats do not have: behind what the two share, as TRL has it.
size_t ChatWriter::Row::behind_shared_prompt(const jinja::Text& whole,
                                             const jinja::Text& prompt, size_t i) const {
  const jinja::Text before = render(i, false).text;
  if (!whole.bytes().starts_with(before.bytes()) ||
      !prompt.bytes().starts_with(before.bytes()))
    refuse_rewriting(i);
  size_t shared = before.size(), begin = 0;
  while (shared < std::min(prompt.size(), whole.size()) &&
         prompt.view()[shared] == whole.view()[shared])
    ++shared;
  // What the turn itself says is no prompt, whatever it begins with.
  for (const jinja::Text::Run& run : whole.runs()) {
    if (run.source != jinja::kOwn && run.end > before.size())
      shared = std::min(shared, std::max(begin, before.size()));
    begin = run.end;
  }
  while (shared > before.size() && is_utf8_continuation(whole.bytes()[shared])) --shared;
  if (!writer_.quiet_ && writer_.told_.insert("prompt").second)
    log::warn(turn(i) + ": the chat template " + template_.name() + " prompts with " +
              quoted(prompt.view().substr(shared)) +
              ", which it leaves out of a whole chat: answers are learned without it");
  return shared;
}

// Where what turn `i` says begins: behind what prompts for it.
size_t ChatWriter::Row::beginning(const jinja::Text& whole, size_t i) const {
  if (i > 0) {
    const jinja::Text prompt = render(i, true).text;
    if (whole.bytes().starts_with(prompt.bytes())) return prompt.size();
    return behind_shared_prompt(whole, prompt, i);
  }
  // Nothing prompts for the first turn: its own words, or its call.
  const auto is_own = [&](jinja::Source source) {
    return source == content_of(0) ||
           std::any_of(parts_.parts().begin(), parts_.parts().end(),
                       [&](const ChatPart& part) {
                         return part.turn == 0 && part.source == source;
                       });
  };
  size_t begin = 0;
  for (const jinja::Text::Run& run : whole.runs()) {
    if (is_own(run.source)) return begin;
    begin = run.end;
  }
  refuse_rewriting(i);
}

// And where it ends: with the last token written out in what the turn adds.
size_t ChatWriter::Row::ending(const jinja::Text& whole, const RenderedTokens& tokens,
                               size_t i, size_t begin) const {
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

}  // namespace lowmem
