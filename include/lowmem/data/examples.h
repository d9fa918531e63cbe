#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "lowmem/config/choices.h"
#include "lowmem/data/example.h"
#include "lowmem/tokenizer/tokenizer.h"

namespace lowmem {

struct ExampleOptions {
  DataFormat format = DataFormat::kAuto;
  OrText<ChatTemplate> chat_template = ChatTemplate::kAuto;
  LongMode long_rows = LongMode::kAuto;
  int64_t max_length = 160;  // tokens, at least 2
  int64_t limit = 0;         // rows to take, the first good ones; 0: all
  int64_t vocabulary = 0;    // ids that the model has; 0: as many as the tokenizer
  std::string chat_date = "today";
};

// Throws Error naming `where`, a row, and the first of `ids` that the model, which has
// `vocabulary` of them, lacks: a tokenizer may have tokens that no row holds, such as one
// for padding that was added later.
void refuse_foreign_ids(std::span<const int32_t> ids, int64_t vocabulary,
                        const Tokenizer& tokenizer, const std::string& where);

// What the rows of a JSONL file hold: `format`, or where that is kAuto what the keys of
// the first row say.
//
//   hellaswag           ctx, endings, label     (see hellaswag.h)
//   text                text
//   prompt_completion   prompt, completion; question, answer; instruction, input, output
//   chat                messages of role and content; conversations of from and value;
//                       prompt and completion where they are lists of such turns
//
// Other keys beside them count for nothing, but for those that change what a row means:
// read_examples() honours, refuses or warns of them. Throws Error naming file, line and
// keys where they belong to no format or to several. With `skip_bad` such rows are passed
// over.
DataFormat format_of_file(const std::filesystem::path& path, DataFormat format,
                          bool skip_bad = false);

// The sequences of a JSONL file's rows, ready to learn from:
//
//   text                [BOS] text EOS; every token is learned
//   prompt_completion   [BOS] prompt completion EOS; the completion and EOS are learned.
//                       The two are read as one text, joined as they are. Learned is what
//                       differs from the tokens of the prompt alone, so that a token made
//                       of both is. The aliases put an empty line after each part, since
//                       theirs end without one.
//   chat                turns as the template writes them; what the assistant says is
//                       learned, with the token that ends its turn (see chat.h)
//
// BOS where the tokenizer adds it; neither BOS nor EOS twice where the text has it. In
// these two formats special tokens written out in a row become their ids, for those who
// write a template of their own; in a chat's turns they do not.
//
// Rows longer than max_length tokens are truncated; left out; or split: into pieces of
// max_length tokens, each of which predicts the token that follows it too, so that no
// label is lost. Only the first piece has BOS. LongMode::kAuto splits texts and truncates
// the others. Examples without a label are left out.
//
// Adds to `counts`. Throws Error naming file and line of a bad row; where `skipped` is
// given, bad rows are left out and added to it instead. Throws Error for a file without a
// good row, and naming the token that a format needs and the tokenizer lacks.
std::vector<Example> read_examples(const std::filesystem::path& path,
                                   const Tokenizer& tokenizer,
                                   const ExampleOptions& options, ExampleCounts& counts,
                                   BadRows* skipped = nullptr);

}  // namespace lowmem
