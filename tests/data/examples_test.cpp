#include "lowmem/data/examples.h"

#include <nlohmann/json.hpp>

#include "data/support.h"
#include "lowmem/core/files.h"
#include "support/shared.h"

namespace lowmem {
namespace {

using test::ByteTokenizer;
using test::error_of;
using test::labels_of;
using test::TemporaryFile;
using test::text_of;
using testing::HasSubstr;
using testing::StartsWith;

struct Read {
  std::vector<Example> examples;
  ExampleCounts counts;
};

Read read(const std::string& rows, const ExampleOptions& options = {},
          const ByteTokenizer& tokenizer = ByteTokenizer()) {
  const TemporaryFile file(rows);
  Read read;
  read.examples = read_examples(file.path(), tokenizer, options, read.counts);
  return read;
}

Example only(const std::string& row, const ExampleOptions& options = {},
             const ByteTokenizer& tokenizer = ByteTokenizer()) {
  const auto examples = read(row, options, tokenizer).examples;
  EXPECT_EQ(examples.size(), 1u);
  return examples.at(0);
}

std::string refusal(const std::string& rows, const ExampleOptions& options = {}) {
  return error_of([&] { read(rows, options); });
}

TEST(TextRows, LearnEveryTokenAndTheEnd) {
  const Example example = only(R"({"text": "a text"})");
  EXPECT_EQ(text_of(example.ids), "^a text$");
  EXPECT_EQ(labels_of(example), "a text$.");
}

TEST(TextRows, HaveABosWhereTheTokenizerAddsIt) {
  EXPECT_EQ(text_of(only(R"({"text": "ab"})", {}, ByteTokenizer(false)).ids), "ab$");
}

TEST(TextRows, MayHoldOtherKeys) {
  EXPECT_EQ(only(R"({"meta": {"text": 1}, "id": 7, "text": "a"})").labelled(), 2);
}

TEST(PromptCompletionRows, LearnTheCompletionAndItsEnd) {
  const Example example = only(R"({"prompt": "2+2=", "completion": "4."})");
  EXPECT_EQ(text_of(example.ids), "^2+2=4.$");
  EXPECT_EQ(labels_of(example), "....4.$.");
}

TEST(PromptCompletionRows, MayHaveNoPrompt) {
  EXPECT_EQ(labels_of(only(R"({"prompt": "", "completion": "ab"})")), "ab$.");
}

TEST(PromptCompletionRows, OfInstructionsHaveEmptyLinesBetweenTheirParts) {
  EXPECT_EQ(text_of(only(R"({"instruction": "I", "input": "P", "output": "O"})").ids),
            "^I\n\nP\n\nO$");
  EXPECT_EQ(text_of(only(R"({"instruction": "I", "input": "", "output": "O"})").ids),
            "^I\n\nO$");
  const Example answer = only(R"({"question": "Q", "answer": "A"})");
  EXPECT_EQ(text_of(answer.ids), "^Q\n\nA$");
  EXPECT_EQ(labels_of(answer), "...A$.");
}

// A tokenizer that joins across the boundary: the token made of both is learned.
TEST(PromptCompletionRows, LearnATokenThatBeginsInThePrompt) {
  const auto tokenizer = open_tokenizer(test::fixture("tokenizers/byte_level"));
  const std::string whole = " the";
  ASSERT_EQ(tokenizer->encode(whole).size(), 1u);
  const TemporaryFile file(R"({"prompt": "a t", "completion": "he"})");
  ExampleCounts counts;
  const auto examples = read_examples(file.path(), *tokenizer, {}, counts);
  const std::vector<int32_t> ids = {*tokenizer->bos_id(), tokenizer->encode("a").at(0),
                                    tokenizer->encode(whole).at(0), *tokenizer->eos_id()};
  EXPECT_EQ(examples.at(0).ids, ids);
  EXPECT_EQ(examples.at(0).labels,
            (std::vector<int32_t>{kIgnoreLabel, ids[2], ids[3], kIgnoreLabel}));
}

TEST(PromptCompletionRows, KeepASpecialTokenThatARowWritesItself) {
  const auto tokenizer = open_tokenizer(test::fixture("tokenizers/llama2_style"));
  const TemporaryFile file(
      R"({"prompt": "<s>[INST] a [/INST]", "completion": " b</s>"})");
  ExampleCounts counts;
  const auto ids = read_examples(file.path(), *tokenizer, {}, counts).at(0).ids;
  EXPECT_EQ(std::count(ids.begin(), ids.end(), *tokenizer->bos_id()), 1);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), *tokenizer->eos_id()), 1);
  EXPECT_EQ(ids.front(), *tokenizer->bos_id());
  EXPECT_EQ(ids.back(), *tokenizer->eos_id());
}

TEST(Rows, WhoseOtherKeysMeanSomethingAreRefused) {
  const std::string other = "is not read here, and the row would mean another";
  const auto beside = [](const std::string& key) {
    return R"({"question": "Q", "answer": "A", )" + key + "}";
  };
  for (const char* key :
       {R"("context": "c")", R"("options": ["a"])", R"("choices": ["a"])",
        R"("passage": "c")", R"("documents": ["c"])", R"("tools": [{"name": "f"}])",
        R"("input": "i")", R"("system": "s")", R"("system_prompt": "s")",
        R"("history": [["q", "a"]])", R"("label": false)", R"("kto_tag": true)"})
    EXPECT_THAT(refusal(beside(key)), HasSubstr(other)) << key;
  for (const char* key : {R"("system_prompt": "s")", R"("label": true)",
                          R"("kto_tag": false)", R"("history": [["q", "a"]])"})
    EXPECT_THAT(refusal(R"({"messages": [{"role": "user", "content": "q"}, )"
                        R"({"role": "assistant", "content": "a"}], )" +
                        std::string(key) + "}"),
                HasSubstr(other))
        << key;
  // Columns of one schema for all rows, where this row has nothing.
  for (const char* key : {R"("context": "")", R"("system": "")", R"("images": "")",
                          R"("history": [])", R"("chosen": "")", R"("label": null)"})
    EXPECT_EQ(text_of(only(beside(key)).ids), "^Q\n\nA$") << key;
}

TEST(ChatRows, MayHaveTheOlderNames) {
  const Example older = only(
      R"({"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]})");
  const Example newer = only(
      R"({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]})");
  EXPECT_EQ(older.ids, newer.ids);
  EXPECT_EQ(older.labels, newer.labels);
}

TEST(ChatRows, MayBeAPromptAndACompletionOfTurns) {
  ExampleOptions options;
  options.chat_template = ChatTemplate::kLlama2;
  const std::string prompt =
      R"({"prompt": [{"role": "user", "content": "a"},)"
      R"({"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}],)";
  const Example example =
      only(prompt + R"("completion": [{"role": "assistant", "content": "d"}]})", options);
  EXPECT_EQ(text_of(example.ids), "^[INST] a [/INST] b $^[INST] c [/INST] d $");
  EXPECT_EQ(labels_of(example), std::string(37, '.') + " d $.");
  for (const char* row :
       {R"({"prompt": "a", "completion": [{"role": "assistant", "content": "d"}]})",
        R"({"completion": "d", "prompt": [{"role": "user", "content": "a"}]})"})
    EXPECT_THAT(refusal(row), HasSubstr("is a text, and the other of the two is a list"));
}

TEST(HellaSwagRows, AreTheSameThroughEitherReader) {
  const std::string path = test::fixture("hellaswag/tiny/rows.jsonl");
  const auto tokenizer = open_tokenizer(test::fixture("hellaswag/tiny"));
  ExampleCounts counts;
  const auto examples = read_examples(
      path, *tokenizer, {.long_rows = LongMode::kTruncate, .max_length = 24}, counts);
  const auto expected = read_json(test::fixture("hellaswag/tiny/training.json"));
  size_t at = 0;
  for (const auto& row : expected["max_length_24"]) {
    if (row["labelled"][0] == row["labelled"][1]) continue;
    EXPECT_EQ(examples.at(at++).ids, row["ids"].get<std::vector<int32_t>>());
  }
  EXPECT_EQ(at, examples.size());
  EXPECT_EQ(counts.rows, 24);
  EXPECT_GT(counts.dropped, 0);
}

constexpr const char* kTen = R"({"text": "abcdefgh"})";  // ^abcdefgh$

TEST(LongRows, AreSplitWithoutLosingALabel) {
  const auto [examples, counts] = read(kTen, {.max_length = 4});
  ASSERT_EQ(examples.size(), 3u);
  EXPECT_EQ(text_of(examples[0].ids), "^abc");
  EXPECT_EQ(labels_of(examples[0]), "abcd");
  EXPECT_EQ(text_of(examples[1].ids), "defg");
  EXPECT_EQ(labels_of(examples[1]), "efgh");
  EXPECT_EQ(text_of(examples[2].ids), "h");
  EXPECT_EQ(labels_of(examples[2]), "$");
  EXPECT_EQ(counts.rows, 1);
  EXPECT_EQ(counts.split, 1);
  EXPECT_EQ(counts.truncated, 0);
}

TEST(LongRows, OfAnyLengthKeepEveryLabelWhenTheyAreSplit) {
  for (size_t size = 1; size < 20; ++size)
    for (const int64_t longest : {2, 3, 5, 8}) {
      const auto [examples, counts] =
          read(nlohmann::json{{"text", std::string(size, 'x')}}.dump(),
               {.long_rows = LongMode::kSplit, .max_length = longest});
      int64_t labels = 0;
      for (const Example& example : examples) {
        labels += example.labelled();
        EXPECT_LE(example.ids.size(), static_cast<size_t>(longest));
      }
      EXPECT_EQ(labels, static_cast<int64_t>(size) + 1) << size << " at " << longest;
      EXPECT_EQ(counts.dropped_pieces, 0);
    }
}

TEST(LongRows, LosePiecesThatHaveNothingToLearn) {
  const auto [examples, counts] = read(R"({"prompt": "abcdefgh", "completion": "ij"})",
                                       {.long_rows = LongMode::kSplit, .max_length = 4});
  ASSERT_EQ(examples.size(), 1u);  // of ^abc defg hij, whose last token is only predicted
  EXPECT_EQ(text_of(examples[0].ids), "hij");
  EXPECT_EQ(labels_of(examples[0]), "ij$");
  EXPECT_EQ(counts.dropped_pieces, 2);
}

TEST(LongRows, AreTruncated) {
  const auto [examples, counts] =
      read(kTen, {.long_rows = LongMode::kTruncate, .max_length = 4});
  ASSERT_EQ(examples.size(), 1u);
  EXPECT_EQ(text_of(examples[0].ids), "^abc");
  EXPECT_EQ(labels_of(examples[0]), "abc.");
  EXPECT_EQ(counts.truncated, 1);
}

TEST(LongRows, AreDropped) {
  const auto [examples, counts] = read(std::string(kTen) + "\n{\"text\": \"ab\"}",
                                       {.long_rows = LongMode::kDrop, .max_length = 4});
  ASSERT_EQ(examples.size(), 1u);
  EXPECT_EQ(text_of(examples[0].ids), "^ab$");
  EXPECT_EQ(counts.too_long, 1);
  EXPECT_EQ(counts.rows, 2);
}

TEST(LongRows, OfOtherFormatsThanTextAreTruncatedByThemselves) {
  const auto [examples, counts] =
      read(R"({"prompt": "ab", "completion": "cdefgh"})", {.max_length = 5});
  ASSERT_EQ(examples.size(), 1u);
  EXPECT_EQ(labels_of(examples[0]), "..cd.");
  EXPECT_EQ(counts.truncated, 1);
}

TEST(Formats, AreKnownByTheKeysOfTheFirstRow) {
  const auto format = [](const std::string& rows, bool skip = false) {
    const TemporaryFile file(rows);
    return format_of_file(file.path(), DataFormat::kAuto, skip);
  };
  EXPECT_EQ(format(R"({"text": "a"})"), DataFormat::kText);
  EXPECT_EQ(format(R"({"instruction": "a"})"), DataFormat::kPromptCompletion);
  EXPECT_EQ(format(R"({"messages": []})"), DataFormat::kChat);
  EXPECT_EQ(format(R"({"ctx": "a", "endings": []})"), DataFormat::kHellaSwag);
  EXPECT_EQ(format(R"({"text": null, "prompt": "a"})"), DataFormat::kPromptCompletion);
  EXPECT_EQ(format("{\"body\": 1}\nnot json\n{\"text\": 1}\n{\"messages\": 1}", true),
            DataFormat::kText);
}

TEST(Formats, OfUnknownKeysNameTheLineTheKeysAndTheFour) {
  const std::string refused = refusal("\n{\"body\": \"a\", \"title\": \"b\"}");
  EXPECT_THAT(refused, HasSubstr(" line 2: has keys of no format"));
  EXPECT_THAT(refused, HasSubstr("\"body\", \"title\""));
  try {
    read("{\"body\": 1}");
  } catch (const Error& error) {
    for (const char* name : {"hellaswag", "text", "prompt_completion", "chat"})
      EXPECT_THAT(error.what(), HasSubstr(name));
  }
}

TEST(Formats, OfContradictoryKeysAreRefusedUnlessOneIsNamed) {
  const std::string both = R"({"text": "t", "prompt": "p", "completion": "c"})";
  EXPECT_THAT(refusal(both),
              HasSubstr("two formats, text of text and prompt of prompt_completion"));
  EXPECT_EQ(text_of(only(both, {.format = DataFormat::kText}).ids), "^t$");
  EXPECT_EQ(text_of(only(both, {.format = DataFormat::kPromptCompletion}).ids), "^pc$");
}

TEST(Formats, HoldForTheWholeFile) {
  EXPECT_THAT(refusal("{\"text\": \"a\"}\n{\"prompt\": \"p\", \"completion\": \"c\"}"),
              HasSubstr("line 2: is a row of prompt_completion, and the file is read "
                        "as text"));
}

TEST(Rows, ThatAreBadAreNamed) {
  const ExampleOptions prompts{.format = DataFormat::kPromptCompletion};
  EXPECT_THAT(refusal(R"({"text": 1})"), HasSubstr("line 1 text: is not a string"));
  EXPECT_THAT(refusal(R"({"text": ""})"), HasSubstr("line 1 text: is empty"));
  EXPECT_THAT(refusal(R"({"text": "a"})", prompts),
              HasSubstr("line 1: is a row of text"));
  EXPECT_THAT(refusal(R"({"title": "a"})", prompts),
              HasSubstr("line 1 prompt: is missing"));
  EXPECT_THAT(refusal(R"({"prompt": "a"})"), HasSubstr("completion: is missing"));
  EXPECT_THAT(refusal(R"({"prompt": "a", "completion": ""})"),
              HasSubstr("completion: is empty"));
  EXPECT_THAT(refusal(R"({"instruction": "a", "input": [], "output": "b"})"),
              HasSubstr("input: is not a string"));
  EXPECT_THAT(refusal(R"({"prompt": "a", "question": "b", "answer": "c"})"),
              HasSubstr("has two prompts, prompt and question"));
}

TEST(Rows, ThatAreBadAreLeftOutWhereTheCallerCountsThem) {
  const TemporaryFile file("{\"text\": \"\"}\n{\"text\": \"a\"}\n{}\n{\"text\": \"b\"}");
  ExampleCounts counts;
  BadRows bad;
  const auto examples =
      read_examples(file.path(), ByteTokenizer(), {.limit = 2}, counts, &bad);
  EXPECT_EQ(examples.size(), 2u);
  EXPECT_EQ(bad.count, 2);
  EXPECT_THAT(bad.first, HasSubstr("line 1 text is empty"));
}

TEST(Rows, AreTakenUpToTheLimit) {
  EXPECT_EQ(read("{\"text\": \"a\"}\n{\"text\": \"b\"}\nnot json", {.limit = 2})
                .examples.size(),
            2u);
}

TEST(Rows, NeedAnEosToEndOn) {
  const TemporaryFile file(R"({"text": "a"})");
  ExampleCounts counts;
  const ByteTokenizer without(true, true, false);
  EXPECT_THAT(error_of([&] { read_examples(file.path(), without, {}, counts); }),
              StartsWith("the tokenizer: names no EOS"));
}

}  // namespace
}  // namespace lowmem
