#include "lowmem/data/hellaswag.h"

#include <nlohmann/json.hpp>

#include "data/support.h"
#include "lowmem/data/examples.h"

namespace lowmem {
namespace {

using nlohmann::json;
using test::ByteTokenizer;
using test::error_of;
using test::TemporaryFile;

json official() {
  return {{"ind", 24},
          {"activity_label", "Roof shingle removal"},
          {"ctx_a", "A man is on a roof."},
          {"ctx_b", "he"},
          {"ctx", "A man is on a roof. he"},
          {"split", "val"},
          {"split_type", "indomain"},
          {"label", 3},
          {"endings", {"sings.", "jumps.", "sleeps.", "pulls a tile."}},
          {"source_id", "activitynet~v_x"}};
}

json with(const char* key, const json& value) {
  json row = official();
  row[key] = value;
  return row;
}

json without(std::initializer_list<const char*> keys) {
  json row = official();
  for (const char* key : keys) row.erase(key);
  return row;
}

HellaSwagRow read(const json& row) {
  const TemporaryFile file(row.dump() + "\n");
  return read_hellaswag(file.path(), 0).at(0);
}

std::string error(const json& row) {
  const TemporaryFile file("\n" + row.dump() + "\n");
  const std::string what = error_of([&] { read_hellaswag(file.path(), 0); });
  const size_t at = what.find(" line ");
  return at == std::string::npos ? what : what.substr(at + 1);
}

Example example(const HellaSwagRow& row, const Tokenizer& tokenizer,
                int64_t max_length = 100) {
  ExampleCounts counts;
  return hellaswag_examples({row}, tokenizer, max_length, counts).at(0);
}

TEST(HellaSwagRows, ReadTheOfficialSchema) {
  const HellaSwagRow row = read(official());
  EXPECT_EQ(row.index, 24);
  EXPECT_EQ(row.activity_label, "Roof shingle removal");
  EXPECT_EQ(row.context_a, "A man is on a roof.");
  EXPECT_EQ(row.context_b, "he");
  EXPECT_EQ(row.context, "A man is on a roof. he");
  EXPECT_EQ(row.endings[3], "pulls a tile.");
  EXPECT_EQ(row.label, 3);
}

TEST(HellaSwagRows, TakeALabelWrittenAsText) {
  EXPECT_EQ(read(with("label", "0")).label, 0);
  EXPECT_EQ(read(with("label", "3")).label, 3);
}

TEST(HellaSwagRows, NeedNoMoreThanTheirLabelsContextAndEndings) {
  const HellaSwagRow row = read(without({"ind", "ctx_a", "ctx_b", "split", "source_id"}));
  EXPECT_EQ(row.index, 0);
  EXPECT_EQ(row.context, "A man is on a roof. he");
  EXPECT_EQ(eval_item(row).query, "Roof shingle removal: A man is on a roof. he");
}

// The harness begins a question with it.
TEST(HellaSwagRows, WithoutAnActivityLabelAreTrainedOnAndNotAsked) {
  const std::string missing =
      "line 2 activity_label: is missing, which the question begins with";
  EXPECT_EQ(error(without({"activity_label"})), missing);
  EXPECT_EQ(error(with("activity_label", nullptr)), missing);
  EXPECT_EQ(eval_item(read(with("activity_label", ""))).query,
            ": A man is on a roof. He");
  const TemporaryFile file(without({"activity_label"}).dump() + "\n");
  ExampleCounts counts;
  EXPECT_EQ(read_examples(file.path(), ByteTokenizer(), {}, counts).size(), 1u);
}

TEST(HellaSwagRows, MakeTheContextOfItsHalves) {
  EXPECT_EQ(read(without({"ctx"})).context, "A man is on a roof. he");
  EXPECT_EQ(read(without({"ctx", "ctx_b"})).context, "A man is on a roof.");
}

TEST(HellaSwagRows, NameTheLineOfAWrongRow) {
  const std::string label = " is not a number from 0 to 3";
  EXPECT_EQ(error(with("label", 4)), "line 2 label = 4:" + label);
  EXPECT_EQ(error(with("label", -1)), "line 2 label = -1:" + label);
  EXPECT_EQ(error(with("label", "two")), "line 2 label = \"two\":" + label);
  EXPECT_EQ(error(with("label", 1.5)), "line 2 label = 1.5:" + label);
  EXPECT_EQ(error(with("label", true)), "line 2 label = true:" + label);
  EXPECT_EQ(error(with("label", std::string(1 << 20, '1'))),
            "line 2 label = (string):" + label);
  const std::string endings = "line 2 endings: is not a list of four strings";
  EXPECT_EQ(error(with("endings", {"a", "b", "c"})), endings);
  EXPECT_EQ(error(with("endings", {"a", "b", "c", "d", "e"})), endings);
  EXPECT_EQ(error(with("endings", {"a", "b", "c", 4})), endings);
  EXPECT_EQ(error(with("endings", "abcd")), endings);
  EXPECT_EQ(error(without({"endings"})), endings);
  EXPECT_EQ(error(with("ctx_b", 1)), "line 2 ctx_b: is not a string");
  EXPECT_EQ(error(without({"ctx", "ctx_a"})), "line 2 ctx: is missing, and so is ctx_a");
}

TEST(HellaSwagRows, RefuseTheTestSplitsMissingLabels) {
  const std::string missing =
      "line 2 label: is missing: the row cannot be trained or scored on";
  EXPECT_EQ(error(with("label", "")), missing);
  EXPECT_EQ(error(with("label", nullptr)), missing);
  EXPECT_EQ(error(without({"label"})), missing);
}

TEST(HellaSwagRows, RefuseAnEmptyFile) {
  const TemporaryFile file("\n\n");
  EXPECT_EQ(error_of([&] { read_hellaswag(file.path(), 0); }),
            file.path().string() + ": has no rows");
}

TEST(HellaSwagRows, ThatAreBadAreLeftOutWhereTheCallerCountsThem) {
  const std::string good = official().dump() + "\n";
  const TemporaryFile file("not JSON\n" + good + with("label", 7).dump() + "\n" + good);
  BadRows skipped;
  const auto rows = read_hellaswag(file.path(), 0, &skipped);
  EXPECT_EQ(rows.size(), 2u);
  EXPECT_EQ(skipped.count, 2);
  EXPECT_THAT(skipped.first,
              testing::StartsWith(file.path().string() + " line 1 is not valid JSON"));
  // Of a second file the rows are counted too, and the first stays the first.
  read_hellaswag(file.path(), 1, &skipped);
  EXPECT_EQ(skipped.count, 3);
}

TEST(HellaSwagRows, OfAFileWithoutAGoodOneStopEvenWhereBadOnesAreLeftOut) {
  const TemporaryFile file("{}\n[]\n");
  BadRows skipped;
  EXPECT_EQ(error_of([&] { read_hellaswag(file.path(), 0, &skipped); }),
            file.path().string() +
                ": has no row that can be read; of 2 bad ones the first: " +
                file.path().string() + " line 1 ctx is missing, and so is ctx_a");
}

TEST(HellaSwagRows, StopAtTheLimitBeforeWhatFollows) {
  const TemporaryFile file(official().dump() + "\n" + official().dump() + "\nnot JSON\n");
  EXPECT_EQ(read_hellaswag(file.path(), 1).size(), 1u);
  EXPECT_EQ(read_hellaswag(file.path(), 2).size(), 2u);
  EXPECT_NE(error_of([&] { read_hellaswag(file.path(), 3); }), "nothing");
}

HellaSwagRow short_row() {
  HellaSwagRow row;
  row.context = "ab";
  row.endings = {"x", "yz", "x", "x"};
  row.label = 1;
  return row;
}

TEST(HellaSwagTraining, LabelsTheRightEndingAndTheEos) {
  const Example e = example(short_row(), ByteTokenizer());
  constexpr int32_t no = kIgnoreLabel;
  EXPECT_EQ(e.ids, (std::vector<int32_t>{256, 'a', 'b', ' ', 'y', 'z', 257}));
  EXPECT_EQ(e.labels, (std::vector<int32_t>{no, no, ' ', 'y', 'z', 257, no}));
  EXPECT_EQ(e.labelled(), 4);
}

TEST(HellaSwagTraining, LabelsTheWholeEndingWithoutBosToo) {
  const Example e = example(short_row(), ByteTokenizer(/*adds_bos=*/false));
  constexpr int32_t no = kIgnoreLabel;
  EXPECT_EQ(e.ids, (std::vector<int32_t>{'a', 'b', ' ', 'y', 'z', 257}));
  EXPECT_EQ(e.labels, (std::vector<int32_t>{no, ' ', 'y', 'z', 257, no}));
  EXPECT_EQ(e.labelled(), 4);
}

TEST(HellaSwagTraining, CountsRowsThatAreCutAndRowsWithNothingLeft) {
  const ByteTokenizer tokenizer;
  ExampleCounts counts;
  EXPECT_EQ(hellaswag_examples({short_row()}, tokenizer, 7, counts).at(0).ids.size(), 7u);
  EXPECT_EQ(counts.truncated, 0);
  const Example cut = hellaswag_examples({short_row()}, tokenizer, 4, counts).at(0);
  EXPECT_EQ(cut.ids, (std::vector<int32_t>{256, 'a', 'b', ' '}));
  EXPECT_EQ(cut.labelled(), 1);
  EXPECT_EQ(counts.truncated, 1);
  EXPECT_EQ(counts.dropped, 0);
  EXPECT_TRUE(hellaswag_examples({short_row()}, tokenizer, 3, counts).empty());
  EXPECT_TRUE(hellaswag_examples({short_row()}, tokenizer, 1, counts).empty());
  EXPECT_EQ(counts.truncated, 3);
  EXPECT_EQ(counts.dropped, 2);
}

TEST(HellaSwagTraining, NeedsAnEos) {
  EXPECT_EQ(error_of([] { example(short_row(), ByteTokenizer(true, true, false)); }),
            "the tokenizer: names no EOS, which ends every training text");
}

std::string cleaned(const std::string& ending) {
  HellaSwagRow row;
  row.endings[0] = ending;
  return eval_item(row).choices[0];
}

TEST(HellaSwagItem, CapitalizesTheSecondHalf) {
  HellaSwagRow row = read(official());
  row.context_b = "then HE";
  EXPECT_EQ(eval_item(row).query, "Roof shingle removal: A man is on a roof. Then he");
}

// Expected values are what lm-evaluation-harness 0.4.11 makes of the text.
TEST(HellaSwagItem, LosesTheMarksOfWikiHow) {
  EXPECT_EQ(cleaned("[header] How to. [title] Do [step] it."), " How to.. Do it.");
  EXPECT_EQ(cleaned("a [b [c] d] e"), "a d] e");
  EXPECT_EQ(cleaned("a [b"), "a [b");
  EXPECT_EQ(cleaned("a ] b [c] d"), "a ] b d");
  EXPECT_EQ(cleaned("[a\nb] [c [d] e"), "[a\nb] e");
  EXPECT_EQ(cleaned("a [b\n[c] d"), "a [b\n d");
  EXPECT_EQ(cleaned(" \u00A0 a     b \u3000"), "a   b");
  EXPECT_EQ(cleaned("[title] a [title]"), " a. ");
}

TEST(HellaSwagItem, IsMadeInLinearTime) {
  const std::string brackets(4 << 20, '[');
  EXPECT_EQ(cleaned(brackets), brackets);
  EXPECT_EQ(cleaned(brackets + "\n" + brackets).size(), 2 * brackets.size() + 1);
}

TEST(HellaSwagChoice, FollowsTheQuerysTokens) {
  const ByteTokenizer tokenizer;
  const ScoredText with_bos = encode_choice(tokenizer, "ab", "cd", true);
  EXPECT_EQ(with_bos.ids, (std::vector<int32_t>{256, 'a', 'b', ' ', 'c', 'd'}));
  EXPECT_EQ(with_bos.context, 3);
  const ScoredText plain = encode_choice(tokenizer, "ab", "cd", false);
  EXPECT_EQ(plain.ids, (std::vector<int32_t>{'a', 'b', ' ', 'c', 'd'}));
  EXPECT_EQ(plain.context, 2);
}

TEST(HellaSwagChoice, TakesTheQuerysTrailingSpace) {
  const ScoredText text = encode_choice(ByteTokenizer(), "ab \n", "c", false);
  EXPECT_EQ(text.ids, (std::vector<int32_t>{'a', 'b', ' ', '\n', ' ', 'c'}));
  EXPECT_EQ(text.context, 2);
}

TEST(HellaSwagChoice, FollowsBosOrElseEosWhereTheQueryIsEmpty) {
  const std::vector<int32_t> choice = {' ', 'c'};
  const auto ids = [&](int32_t first) { return std::vector<int32_t>{first, ' ', 'c'}; };
  for (const bool bos : {true, false}) {
    const ScoredText text = encode_choice(ByteTokenizer(), "", "c", bos);
    EXPECT_EQ(text.ids, ids(256));
    EXPECT_EQ(text.context, 1);
    const ScoredText eos = encode_choice(ByteTokenizer(false, false), "", "c", bos);
    EXPECT_EQ(eos.ids, ids(257));
    EXPECT_EQ(eos.context, 1);
  }
  EXPECT_NE(error_of([] { encode_choice(ByteTokenizer(0, 0, 0), "", "c", true); }),
            "nothing");
}

TEST(HellaSwagChoice, IsMeasuredInCharacters) { EXPECT_EQ(choice_length("thé 😀"), 5); }

}  // namespace
}  // namespace lowmem
