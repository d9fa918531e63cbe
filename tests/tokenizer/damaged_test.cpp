// Every damaged or unknown file is answered with an Error that names the file and the
// cause.

#include <functional>
#include <sstream>

#include "tokenizer/expected.h"

namespace lowmem::test {
namespace {

using nlohmann::json;

void expect_error(const Error& error, const std::string& thing,
                  const std::string& problem) {
  EXPECT_NE(error.thing().find(thing), std::string::npos) << error.what();
  EXPECT_NE(error.problem().find(problem), std::string::npos) << error.what();
}

struct JsonDamage {
  std::string name;
  std::string folder;  // of the fixture that is damaged
  std::function<void(json&)> damage;
  std::string thing;
  std::string problem;
};

class DamagedTokenizerJson : public testing::TestWithParam<JsonDamage> {};

TEST_P(DamagedTokenizerJson, IsAnErrorThatNamesTheCause) {
  json content = tokenizer_file(GetParam().folder);
  GetParam().damage(content);
  TemporaryFolder folder;
  folder.write("tokenizer.json", content);
  expect_error(folder.error(), "tokenizer.json" + GetParam().thing, GetParam().problem);
}

json split_on(const std::string& pattern, const std::string& behavior = "Isolated") {
  const json split = {{"type", "Split"},
                      {"pattern", {{"Regex", pattern}}},
                      {"behavior", behavior},
                      {"invert", false}};
  const json bytes = {{"type", "ByteLevel"}, {"use_regex", false}};
  return {{"type", "Sequence"}, {"pretokenizers", {split, bytes}}};
}

json nested_sequences(const char* key, int depth) {
  json field = {{"type", "Sequence"}, {key, json::array()}};
  for (int i = 0; i < depth; ++i) field = {{"type", "Sequence"}, {key, {field}}};
  return field;
}

JsonDamage pattern(const std::string& name, const std::string& text,
                   const std::string& problem) {
  return {"Pattern" + name, "byte_level",
          [text](json& j) { j["pre_tokenizer"] = split_on(text); },
          " pre_tokenizer.pretokenizers[0].pattern", problem};
}

std::vector<JsonDamage> json_damages() {
  const std::string bytes = "byte_level";
  const std::string words = "word_level";
  return {
      {"NotAnObject", bytes, [](json& j) { j = json::array(); }, "", "is not an object"},
      {"NoModel", bytes, [](json& j) { j.erase("model"); }, "", "has no \"model\""},
      {"ModelIsText", bytes, [](json& j) { j["model"] = "BPE"; }, " model",
       "is not an object"},
      {"Unigram", bytes, [](json& j) { j["model"]["type"] = "Unigram"; }, " model",
       "the model Unigram is not implemented"},
      {"WordPiece", bytes, [](json& j) { j["model"]["type"] = "WordPiece"; }, " model",
       "the model WordPiece is not implemented"},
      {"Dropout", bytes, [](json& j) { j["model"]["dropout"] = 0.1; }, " model.dropout",
       "dropout is not implemented"},
      {"SubwordPrefix", bytes,
       [](json& j) { j["model"]["continuing_subword_prefix"] = "##"; },
       " model.continuing_subword_prefix", "is not implemented"},
      {"WordSuffix", bytes, [](json& j) { j["model"]["end_of_word_suffix"] = "</w>"; },
       " model.end_of_word_suffix", "is not implemented"},
      {"FlagIsText", bytes, [](json& j) { j["model"]["fuse_unk"] = "yes"; },
       " model.fuse_unk", "is not true or false"},
      {"VocabIsList", bytes,
       [](json& j) {
         j["model"]["vocab"] = {"a", "b"};
       },
       " model.vocab", "is not an object"},
      {"IdIsText", bytes, [](json& j) { j["model"]["vocab"]["!"] = "0"; },
       " model.vocab.!", "is not an integer"},
      {"IdIsFraction", bytes, [](json& j) { j["model"]["vocab"]["!"] = 0.5; },
       " model.vocab.!", "is not an integer"},
      {"IdIsNegative", bytes, [](json& j) { j["model"]["vocab"]["!"] = -1; },
       " model.vocab.!", "outside 0 to"},
      {"IdIsHuge", bytes, [](json& j) { j["model"]["vocab"]["!"] = int64_t{1} << 40; },
       " model.vocab.!", "1099511627776, outside"},
      {"IdIsBeyond64Bits", bytes, [](json& j) { j["model"]["vocab"]["!"] = UINT64_MAX; },
       " model.vocab.!", "outside"},
      {"IdTwice", bytes, [](json& j) { j["model"]["vocab"]["!"] = 1; }, " model.vocab",
       "gives the id 1 to both"},
      {"WordIdTwice", words, [](json& j) { j["model"]["vocab"]["the"] = 2; },
       " model.vocab", "gives the id 2 to both"},
      {"NoVocab", words, [](json& j) { j["model"].erase("vocab"); }, " model",
       "has no \"vocab\""},
      {"MergesIsObject", bytes, [](json& j) { j["model"]["merges"] = json::object(); },
       " model.merges", "is not a list"},
      {"MergeOfUnknownPiece", bytes,
       [](json& j) {
         j["model"]["merges"][2] = {"xq", "zz"};
       },
       " model.merges[2]", "names the piece \"xq\", which the vocabulary lacks"},
      {"MergeToUnknownPiece", bytes,
       [](json& j) {
         j["model"]["merges"][0] = {"~", "~"};
       },
       " model.merges[0]", "names the piece \"~~\""},
      {"MergeOfThree", bytes, [](json& j) { j["model"]["merges"][1] = "a b c"; },
       " model.merges[1]", "is not a pair"},
      {"MergeOfNumbers", bytes,
       [](json& j) {
         j["model"]["merges"][1] = {1, 2};
       },
       " model.merges[1]", "is not a pair"},
      {"MergeOfOne", bytes, [](json& j) { j["model"]["merges"][1] = {"a"}; },
       " model.merges[1]", "is not a pair"},
      {"Nfkc", bytes,
       [](json& j) {
         j["normalizer"] = {{"type", "NFKC"}};
       },
       " normalizer", "the normalizer NFKC is not implemented"},
      {"ReplaceRegex", bytes,
       [](json& j) {
         j["normalizer"] = {
             {"type", "Replace"}, {"pattern", {{"Regex", "a"}}}, {"content", ""}};
       },
       " normalizer.pattern", "other than a String"},
      {"ReplaceOfNothing", bytes,
       [](json& j) {
         j["normalizer"] = {
             {"type", "Replace"}, {"pattern", {{"String", ""}}}, {"content", ""}};
       },
       " normalizer.pattern.String", "is empty"},
      {"NormalizersTooDeep", bytes,
       [](json& j) { j["normalizer"] = nested_sequences("normalizers", 20); },
       " normalizer", "so deep"},
      {"PreTokenizersTooDeep", bytes,
       [](json& j) { j["pre_tokenizer"] = nested_sequences("pretokenizers", 20); },
       " pre_tokenizer", "so deep"},
      {"DecodersTooDeep", "llama2_style",
       [](json& j) { j["decoder"] = nested_sequences("decoders", 20); }, " decoder",
       "so deep"},
      {"PostProcessorsTooDeep", bytes,
       [](json& j) { j["post_processor"] = nested_sequences("processors", 20); },
       " post_processor", "so deep"},
      {"Punctuation", bytes,
       [](json& j) {
         j["pre_tokenizer"] = {{"type", "Punctuation"}};
       },
       " pre_tokenizer", "the pre-tokenizer Punctuation is not implemented"},
      {"PreTokenizerWithoutType", bytes,
       [](json& j) { j["pre_tokenizer"] = json::object(); }, " pre_tokenizer",
       "has no \"type\""},
      {"StepAfterByteLevel", bytes,
       [](json& j) {
         j["pre_tokenizer"]["pretokenizers"].push_back({{"type", "WhitespaceSplit"}});
       },
       " pre_tokenizer.pretokenizers[2]", "after ByteLevel"},
      {"SplitBehavior", bytes,
       [](json& j) { j["pre_tokenizer"] = split_on("a", "MergedWithNext"); },
       " pre_tokenizer.pretokenizers[0].behavior", "MergedWithNext is not implemented"},
      {"MetaspaceOfTwo", "llama2_style",
       [](json& j) {
         j["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "ab"}};
       },
       " pre_tokenizer.replacement", "is not one character"},
      pattern("WordClass", "\\w+", "the escape \\w"),
      pattern("Boundary", "\\bx", "the escape \\b"),
      pattern("Script", "\\p{Han}+", "the property \\p{Han}"),
      pattern("UnclosedProperty", "\\p{L", "the property"),
      pattern("NestedClass", "[a[b]]", "a [ inside"),
      pattern("Posix", "[[:alpha:]]", "a [ inside"),
      pattern("Intersection", "[a-z&&b]", "intersection"),
      pattern("NegatedInClass", "[\\Sx]", "a negated class"),
      pattern("UnclosedClass", "[abc", "without its ]"),
      pattern("NamedGroup", "(?<name>x)", "the group (?<n"),
      pattern("UnclosedGroup", "(?:a", "not a valid regular expression"),
      pattern("LoneBackslash", "a\\", "backslash"),
      pattern("RepeatWithoutLow", "a{,3}", "repeat count"),
      pattern("PossessiveCount", "a{1,3}+", "repeat count"),
      {"WordPieceDecoder", "llama2_style",
       [](json& j) {
         j["decoder"] = {{"type", "WordPiece"}};
       },
       " decoder", "the decoder WordPiece is not implemented"},
      {"ByteLevelWithoutDecoder", bytes, [](json& j) { j.erase("decoder"); }, "",
       "without a ByteLevel decoder"},
      {"ByteLevelDecoderAlone", "llama2_style",
       [](json& j) {
         j["decoder"] = {{"type", "ByteLevel"}};
       },
       "", "without a ByteLevel pre-tokenizer"},
      {"NegativeStrip", "llama2_style",
       [](json& j) { j["decoder"]["decoders"][3]["start"] = -1; },
       " decoder.decoders[3].start", "is negative"},
      {"BertProcessing", bytes,
       [](json& j) {
         j["post_processor"] = {{"type", "BertProcessing"}};
       },
       " post_processor", "the post-processor BertProcessing is not implemented"},
      {"TemplateOfUnknownToken", bytes,
       [](json& j) {
         j["post_processor"]["processors"][1]["special_tokens"] = json::object();
       },
       " post_processor.processors[1].special_tokens", "has no \"<|begin_of_text|>\""},
      {"TemplateOfUnknownId", bytes,
       [](json& j) {
         auto& tokens = j["post_processor"]["processors"][1]["special_tokens"];
         tokens["<|begin_of_text|>"]["ids"] = {99999};
       },
       " post_processor.processors[1].single", "names the id 99999"},
      {"AddedTokensIsObject", bytes, [](json& j) { j["added_tokens"] = json::object(); },
       " added_tokens", "is not a list"},
      {"AddedTokenWithoutContent", bytes,
       [](json& j) { j["added_tokens"][3].erase("content"); }, " added_tokens[3]",
       "has no \"content\""},
      {"AddedTokenNegative", bytes, [](json& j) { j["added_tokens"][0]["id"] = -5; },
       " added_tokens[0].id", "outside 0 to"},
      {"AddedTokenHuge", bytes,
       [](json& j) { j["added_tokens"][0]["id"] = int64_t{1} << 40; },
       " added_tokens[0].id", "outside 0 to"},
      {"AddedTokenOutOfLine", bytes, [](json& j) { j["added_tokens"][1]["id"] = 700; },
       " added_tokens[1]", "where the vocabulary makes it 641"},
      {"AddedTokenOfAnotherPiece", words,
       [](json& j) { j["added_tokens"][0]["content"] = "the"; }, " added_tokens[0]",
       "where the vocabulary makes it"},
      {"AddedTokenTwice", words,
       [](json& j) { j["added_tokens"].push_back(j["added_tokens"][0]); },
       " added_tokens[3]", "is there twice"},
  };
}

INSTANTIATE_TEST_SUITE_P(All, DamagedTokenizerJson, testing::ValuesIn(json_damages()),
                         [](const auto& damage) { return damage.param.name; });

TEST(TokenizerJson, TextThatIsNotJsonIsNamedWithItsLine) {
  TemporaryFolder folder;
  folder.write_text("tokenizer.json", "{\n\"model\": {\n");
  expect_error(folder.error(), "tokenizer.json line", "is not valid JSON");
  folder.write_text("tokenizer.json", "");
  expect_error(folder.error(), "tokenizer.json", "is not valid JSON");
  folder.write_text("tokenizer.json", "{\"model\": 1e999}");
  expect_error(folder.error(), "tokenizer.json", "number");
}

TEST(TokenizerJson, ListsNestedWithoutEndAreAnError) {
  TemporaryFolder folder;
  const std::string open(100'000, '[');
  const std::string close(100'000, ']');
  folder.write_text("tokenizer.json", "{\"model\": " + open + close + "}");
  expect_error(folder.error(), "tokenizer.json", "is nested deeper than 64");
}

TEST(TokenizerJson, APatternThatBacktracksWithoutEndIsAnErrorAtEncode) {
  TemporaryFolder folder;
  json content = tokenizer_file("byte_level");
  content["pre_tokenizer"] = split_on("(?:a+)+b|(?:a|aa)+c");
  folder.write("tokenizer.json", content);
  const auto tokenizer = folder.open();
  EXPECT_FALSE(tokenizer->encode("aab aac x").empty());
  try {
    tokenizer->encode(std::string(60, 'a'));
    FAIL() << "the pattern ends";
  } catch (const Error& error) {
    expect_error(error, "tokenizer.json pre_tokenizer", "takes too many steps");
  }
}

TEST(TokenizerJson, AnUnknownWordWithoutUnknownTokenIsAnErrorAtEncode) {
  TemporaryFolder folder;
  json content = tokenizer_file("word_level");
  content["model"]["unk_token"] = "[UNK]";
  folder.write("tokenizer.json", content);
  const auto tokenizer = folder.open();
  EXPECT_EQ(tokenizer->encode("the the").size(), 2u);
  EXPECT_THROW(tokenizer->encode("the qqqq"), Error);
}

struct TiktokenDamage {
  std::string name;
  std::function<void(std::vector<std::string>&)> damage;  // of the file's lines
  std::string thing;
  std::string problem;
};

class DamagedTiktoken : public testing::TestWithParam<TiktokenDamage> {};

std::vector<std::string> tiktoken_lines() {
  std::istringstream file(read_file(fixture("tokenizers/tiktoken/tokenizer.model")));
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

std::string joined(const std::vector<std::string>& lines, const std::string& end = "\n") {
  std::string text;
  for (const std::string& line : lines) text += line + end;
  return text;
}

TEST_P(DamagedTiktoken, IsAnErrorThatNamesTheLine) {
  auto lines = tiktoken_lines();
  GetParam().damage(lines);
  TemporaryFolder folder;
  folder.write_text("tokenizer.model", joined(lines));
  expect_error(folder.error(), "tokenizer.model" + GetParam().thing, GetParam().problem);
}

using Lines = std::vector<std::string>;
INSTANTIATE_TEST_SUITE_P(
    All, DamagedTiktoken,
    testing::Values(
        TiktokenDamage{"BadDigit", [](Lines& l) { l[9] = "A*== 9"; }, " line 10",
                       "is not a base64 piece"},
        TiktokenDamage{"BadLength", [](Lines& l) { l[9] = "QUI 9"; }, " line 10",
                       "is not a base64 piece"},
        TiktokenDamage{"OnlyPadding", [](Lines& l) { l[9] = "==== 9"; }, " line 10",
                       "is not a base64 piece"},
        TiktokenDamage{"NoRank", [](Lines& l) { l[9] = "QUI="; }, " line 10",
                       "and its rank"},
        TiktokenDamage{"RankIsText", [](Lines& l) { l[9] = "QUI= x"; }, " line 10",
                       "and its rank"},
        TiktokenDamage{"RankIsTooLong",
                       [](Lines& l) { l[9] = "QUI= 99999999999999999999999"; },
                       " line 10", "and its rank"},
        TiktokenDamage{"NegativeRank", [](Lines& l) { l[9] = "QUI= -1"; }, " line 10",
                       "has the rank -1, outside"},
        TiktokenDamage{"HugeRank", [](Lines& l) { l[9] = "QUI= 1099511627776"; },
                       " line 10", "has the rank 1099511627776, outside"},
        TiktokenDamage{"RankTwice", [](Lines& l) { l.push_back("//////8= 9"); },
                       " line 641", "has the rank 9 of an earlier line"},
        TiktokenDamage{
            "PieceTwice",
            [](Lines& l) { l.push_back(l[9].substr(0, l[9].find(' ')) + " 640"); },
            " line 641", "repeats the piece"},
        TiktokenDamage{"MissingRank", [](Lines& l) { l.erase(l.begin() + 300); }, "",
                       "lacks the rank 300"},
        TiktokenDamage{"MissingByte", [](Lines& l) { l[255] = "//////8= 255"; }, "",
                       "has no piece for the single byte"},
        TiktokenDamage{"OtherFile", [](Lines& l) { l = {"version https://x"}; }, "",
                       "neither a SentencePiece model nor a tiktoken file"}),
    [](const auto& damage) { return damage.param.name; });

TEST(Tiktoken, CarriageReturnsAndBlankLinesChangeNothing) {
  TemporaryFolder folder;
  folder.write_text("tokenizer.model", joined(tiktoken_lines(), "\r\n\n"));
  const std::string text = "Hello, world <|eot_id|>";
  EXPECT_EQ(folder.open()->encode(text),
            open_tokenizer(fixture("tokenizers/tiktoken"))->encode(text));
}

TEST(DamagedSentencePiece, ATruncatedModelIsAnErrorOrStillAModel) {
  const std::string whole =
      read_file(fixture("tokenizers/sentencepiece/tokenizer.model"));
  int errors = 0;
  for (size_t size = 1; size < whole.size(); size += 97) {
    TemporaryFolder folder;
    folder.write_text("tokenizer.model", std::string_view(whole).substr(0, size));
    try {
      folder.open()->encode("Hello <s> world");
    } catch (const Error& error) {
      expect_error(error, "tokenizer.model", "SentencePiece");
      ++errors;
    }
  }
  EXPECT_GT(errors, 50);
}

TEST(DamagedSentencePiece, OtherBytesAreNotAModel) {
  TemporaryFolder folder;
  folder.write_text("tokenizer.model", "\n{\"pieces\": []}");
  expect_error(folder.error(), "tokenizer.model", "is not a valid SentencePiece model");
  folder.write_text("tokenizer.model", "");
  expect_error(folder.error(), "tokenizer.model", "is empty");
}

}  // namespace
}  // namespace lowmem::test
