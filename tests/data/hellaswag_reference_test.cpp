// Against what transformers' tokenizers and lm-evaluation-harness make of the same rows:
// tests/fixtures/README.md.
#include <nlohmann/json.hpp>

#include "data/support.h"
#include "lowmem/core/files.h"
#include "lowmem/data/hellaswag.h"
#include "support/shared.h"

namespace lowmem {
namespace {

using test::fixture;
using test::shared;

void expect_training_examples(const nlohmann::json& expected,
                              const std::vector<HellaSwagRow>& rows,
                              const Tokenizer& tokenizer, int64_t max_length) {
  ASSERT_EQ(expected.size(), rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    SCOPED_TRACE("row " + std::to_string(i) + " cut at " + std::to_string(max_length));
    const auto ids = expected[i]["ids"].get<std::vector<int32_t>>();
    const auto [begin, end] = expected[i]["labelled"].get<std::pair<size_t, size_t>>();
    ExampleCounts counts;
    const auto examples = hellaswag_examples({rows[i]}, tokenizer, max_length, counts);
    EXPECT_EQ(counts.dropped, begin == end);
    EXPECT_EQ(examples.size(), begin != end);
    if (examples.empty()) continue;
    std::vector<int32_t> labels(ids.size(), kIgnoreLabel);
    for (size_t k = begin; k < end; ++k) labels[k] = ids[k + 1];
    EXPECT_EQ(examples[0].ids, ids);
    EXPECT_EQ(examples[0].labels, labels);
  }
}

// The folder in ../shared has no tokenizer_config.json, which names the EOS.
std::unique_ptr<Tokenizer> open_llama3() {
  const auto folder = std::filesystem::path(::testing::TempDir()) / "lowmem_llama3";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  std::filesystem::create_symlink(
      std::filesystem::canonical(shared("tokenizers/llama3/tokenizer.json")),
      folder / "tokenizer.json");
  std::ofstream(folder / "tokenizer_config.json")
      << R"({"bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>"})";
  auto tokenizer = open_tokenizer(folder);
  std::filesystem::remove_all(folder);
  return tokenizer;
}

// Some of the rows have `query` and `choices`, all have a label.
void expect_items(const nlohmann::json& expected, const std::vector<HellaSwagRow>& rows) {
  ASSERT_EQ(expected.size(), rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    SCOPED_TRACE("row " + std::to_string(i));
    const EvalItem item = eval_item(rows[i]);
    EXPECT_EQ(item.label, expected[i]["label"].get<int>());
    if (!expected[i].contains("query")) continue;
    EXPECT_EQ(item.query, expected[i]["query"].get<std::string>());
    for (size_t k = 0; k < 4; ++k)
      EXPECT_EQ(item.choices[k], expected[i]["choices"][k].get<std::string>());
  }
}

TEST(HellaSwagReference, TrainingIdsAndLabelsAreTheFields) {
  const auto rows = read_hellaswag(fixture("hellaswag/tiny/rows.jsonl"), 0);
  const auto tokenizer = open_tokenizer(fixture("hellaswag/tiny"));
  const auto expected = read_json(fixture("hellaswag/tiny/training.json"));
  for (const int64_t length : {160, 24})
    expect_training_examples(expected["max_length_" + std::to_string(length)], rows,
                             *tokenizer, length);
}

TEST(HellaSwagReference, QueriesAndChoicesAreTheHarnesss) {
  const auto rows = read_hellaswag(fixture("hellaswag/tiny/rows.jsonl"), 0);
  expect_items(read_json(fixture("hellaswag/tiny/expected.json"))["rows"], rows);
}

TEST(HellaSwagReferenceData, TrainingIdsAndLabelsAreTheFieldsWithLlama3) {
  LOWMEM_NEEDS_SHARED("tokenizers/llama3");
  LOWMEM_NEEDS_SHARED("data/hellaswag/train_4303.jsonl");
  const auto rows = read_hellaswag(shared("data/hellaswag/train_4303.jsonl"), 50);
  const auto tokenizer = open_llama3();
  const auto expected = read_json(fixture("hellaswag/training_llama3.json"));
  for (const int64_t length : {160, 24})
    expect_training_examples(expected["max_length_" + std::to_string(length)], rows,
                             *tokenizer, length);
}

TEST(HellaSwagReferenceData, QueriesAndChoicesOfRealRowsAreTheHarnesss) {
  LOWMEM_NEEDS_SHARED("data/hellaswag/val_1000.jsonl");
  const auto rows = read_hellaswag(shared("data/hellaswag/val_1000.jsonl"), 200);
  expect_items(read_json(fixture("hellaswag/tinystories_656k.json"))["rows"], rows);
}

TEST(HellaSwagReferenceData, EveryRealRowIsRead) {
  LOWMEM_NEEDS_SHARED("data/hellaswag/train_4303.jsonl");
  LOWMEM_NEEDS_SHARED("data/hellaswag/val_1000.jsonl");
  const auto train = read_hellaswag(shared("data/hellaswag/train_4303.jsonl"), 0);
  EXPECT_EQ(train.size(), 4303u);
  EXPECT_EQ(read_hellaswag(shared("data/hellaswag/val_1000.jsonl"), 0).size(), 1000u);
  int64_t without_activity = 0;
  for (const HellaSwagRow& row : train) without_activity += row.activity_label.empty();
  EXPECT_EQ(without_activity, 935);
}

}  // namespace
}  // namespace lowmem
