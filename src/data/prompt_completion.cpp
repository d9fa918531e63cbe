// {"prompt": ..., "completion": ...}: the completion is learned. And the two aliases that
// instruction and question-answering data use.
#include <array>

#include "data/draft.h"
#include "data/formats.h"
#include "data/row_file.h"
#include "lowmem/core/error.h"

namespace lowmem {
namespace {

struct Names {
  const char* prompt;
  const char* input;  // a second part of the prompt, or null; may be missing or empty
  const char* completion;
  bool as_given;  // false: an empty line after each part of the prompt
};

constexpr std::array<Names, 3> kNames = {{{"prompt", nullptr, "completion", true},
                                          {"instruction", "input", "output", false},
                                          {"question", nullptr, "answer", false}}};

const Names& names_of(const nlohmann::json& row, const std::string& where) {
  const Names* found = nullptr;
  for (const Names& names : kNames) {
    if (!has(row, names.prompt)) continue;
    if (found != nullptr)
      throw Error(
          where,
          std::string("has two prompts, ") + found->prompt + " and " + names.prompt,
          "Keep one of them");
    found = &names;
  }
  if (found == nullptr) throw Error(where + " prompt", "is missing", kRepairLine);
  return *found;
}

}  // namespace

Example prompt_completion_example(const nlohmann::json& row, const std::string& where,
                                  const Tokenizer& tokenizer) {
  const Names& names = names_of(row, where);
  const std::string end = names.as_given ? "" : "\n\n";
  std::string prompt = text_at(row, names.prompt, where) + end;
  if (names.input != nullptr && has(row, names.input))
    if (const std::string input = text_at(row, names.input, where); !input.empty())
      prompt += input + end;
  const std::string completion = text_at(row, names.completion, where);
  if (completion.empty())
    throw Error(where + " " + names.completion, "is empty", kRepairLine);

  const auto whole = tokenizer.encode(prompt + completion);
  const auto alone = prompt.empty() ? std::vector<int32_t>() : tokenizer.encode(prompt);
  Draft draft;
  const auto bos = tokenizer.adds_bos() ? tokenizer.bos_id() : std::nullopt;
  if (bos && (whole.empty() || whole.front() != *bos)) draft.add(*bos, false);
  draft.add(whole, tokens_of_beginning(alone, whole));
  if (draft.ids().empty() || draft.ids().back() != *tokenizer.eos_id())
    draft.add(*tokenizer.eos_id(), true);
  return std::move(draft).finish();
}

}  // namespace lowmem
