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

// The first `limit` rows of a JSONL file (0: all). Throws Error naming file and line.
std::vector<HellaSwagRow> read_hellaswag(const std::filesystem::path& path, int64_t limit);

// The training text of each row with its loss mask, cut at `max_length` tokens. Adds to
// `counts`.
std::vector<Example> hellaswag_examples(const std::vector<HellaSwagRow>& rows,
                                        const Tokenizer& tokenizer, int64_t max_length,
                                        ExampleCounts& counts);

// A row as lm-evaluation-harness asks it.
struct EvalItem {
  int64_t index = 0;
  int label = -1;
  std::string query;
  std::array<std::string, 4> choices;
};
EvalItem eval_item(const HellaSwagRow& row);

// Query and one choice in tokens; the first `context` of them are the query's.
struct ScoredText {
  std::vector<int32_t> ids;
  int64_t context = 0;
};
ScoredText encode_choice(const Tokenizer& tokenizer, const std::string& query,
                         const std::string& choice, bool bos);

// Characters (code points) of a choice: what acc_norm divides by.
int64_t choice_length(const std::string& choice);

}  // namespace lowmem
