#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "lowmem/data/example.h"
#include "lowmem/tokenizer/tokenizer.h"

namespace lowmem {

// A row of a HellaSwag file. Parts that the row lacks are empty.
struct HellaSwagRow {
  int64_t index = 0;  // `ind`, or the row's number in the file
  std::string activity_label, context_a, context_b, context;
  std::array<std::string, 4> endings;
  int label = -1;  // of the right ending; -1 in the test split
};

// The first `limit` rows of a JSONL file (0: all), to be asked. The official schema, or
// `ctx` without `ctx_a` and `ctx_b`; `label` is an integer or the same in a string.
// Throws Error naming file and line of a bad row, also of one without a label or without
// the activity label that a question begins with. Where `skipped` is given, bad
// rows are left out and added to it instead, and the limit counts good ones. Throws Error
// for a file without a good row.
std::vector<HellaSwagRow> read_hellaswag(const std::filesystem::path& path, int64_t limit,
                                         BadRows* skipped = nullptr);

// The training text of each row with its loss mask, cut at `max_length` tokens:
//
//   ids     [BOS] ctx + " " + right ending [EOS]
//   labels  the next token from position tokens(ctx) on, where BOS is not counted: with
//           BOS in front that position predicts the first token of the ending
//
// BOS is there where the tokenizer adds it. Adds to `counts`. Throws Error where the
// tokenizer names no EOS.
std::vector<Example> hellaswag_examples(const std::vector<HellaSwagRow>& rows,
                                        const Tokenizer& tokenizer, int64_t max_length,
                                        ExampleCounts& counts);

// A row as lm-evaluation-harness asks it: activity label, ": ", ctx_a and ctx_b, which
// begins with a capital letter; all of them without the marks of wikiHow. A row without
// ctx_a and ctx_b asks its ctx.
struct EvalItem {
  int64_t index = 0;
  int label = -1;
  std::string query;
  std::array<std::string, 4> choices;
};
EvalItem eval_item(const HellaSwagRow& row);

// Query and one choice in tokens; the first `context` >= 1 of them are the query's, BOS
// included. The choice's are what query + " " + choice has after that many; there are
// none where the tokenizer has no token for it. A query without tokens is replaced by
// BOS, or by EOS where there is no BOS; Error where there is neither.
struct ScoredText {
  std::vector<int32_t> ids;
  int64_t context = 0;
};
ScoredText encode_choice(const Tokenizer& tokenizer, const std::string& query,
                         const std::string& choice, bool bos);

// Characters (code points) of a choice: what acc_norm divides by.
int64_t choice_length(const std::string& choice);

}  // namespace lowmem
