// The tokenizers of ../shared on 2,000 lines of its corpora, and on the hard strings.

#include <sstream>

#include "tokenizer/expected.h"

namespace lowmem::test {
namespace {

// `count` lines of each corpus, evenly spread over those that are not blank.
std::vector<std::string> corpus_lines(size_t count) {
  std::vector<std::string> lines;
  for (const char* name : {"tinyshakespeare", "wikitext2_valid", "wikitext2_test"}) {
    std::istringstream file(
        read_file(shared("data/corpora/" + std::string(name) + ".txt")));
    std::vector<std::string> full;
    for (std::string line; std::getline(file, line, '\n');)
      if (line.find_first_not_of(" \t\r") != std::string::npos) full.push_back(line);
    const size_t stride = full.size() / count;
    for (size_t i = 0; i < count; ++i) lines.push_back(full.at(i * stride));
  }
  return lines;
}

// The hard strings follow the lines in texts.json.
nlohmann::json hard_texts(size_t count) {
  const nlohmann::json texts = tokenizer_reference("texts");
  nlohmann::json hard = nlohmann::json::array();
  for (size_t i = texts.size() - count; i < texts.size(); ++i) hard.push_back(texts[i]);
  return hard;
}

struct Real {
  std::string name;
  std::string file;
};

class TokenizerData : public testing::TestWithParam<Real> {
 protected:
  void SetUp() override {
    LOWMEM_NEEDS_SHARED(GetParam().file);
    tokenizer_ = open_tokenizer_file(shared(GetParam().file));
    reference_ = tokenizer_reference("real_" + GetParam().name);
  }
  std::unique_ptr<Tokenizer> tokenizer_;
  nlohmann::json reference_;
};

TEST_P(TokenizerData, TwoThousandLinesHaveTheReferenceIds) {
  LOWMEM_NEEDS_SHARED("data/corpora");
  std::istringstream hashes(reference_["lines"].get<std::string>());
  size_t count = 0;
  auto lines = corpus_lines(667);
  lines.resize(2000);
  for (const std::string& line : lines) {
    std::string hash;
    ASSERT_TRUE(hashes >> hash);
    EXPECT_EQ(fnv(tokenizer_->encode(line)), hash) << line;
    ++count;
  }
  EXPECT_EQ(count, 2000u);
}

TEST_P(TokenizerData, HardStringsHaveTheReferenceIds) {
  expect_cases(*tokenizer_, hard_texts(reference_["cases"].size()), reference_["cases"]);
}

TEST_P(TokenizerData, SpecialTokensWrittenInATextAreIds) {
  expect_cases(*tokenizer_, reference_["special_texts"], reference_["special_cases"]);
}

INSTANTIATE_TEST_SUITE_P(
    Real, TokenizerData,
    testing::Values(Real{"llama3_json", "tokenizers/llama3/tokenizer.json"},
                    Real{"llama3_model", "tokenizers/llama3/tokenizer.model"},
                    Real{"tinystories", "models/tinystories-656k/tokenizer.json"},
                    Real{"stories260k", "models/stories260k/tokenizer.model"}),
    [](const auto& real) { return real.param.name; });

TEST(TokenizerDataLlama3, BothFilesGiveLlamaCppsVectors) {
  LOWMEM_NEEDS_SHARED("tokenizers/llama3");
  const auto vectors =
      read_json(shared("tokenizers/llama3/vectors_llama_cpp.json"))["cases"];
  ASSERT_EQ(vectors.size(), 47u);
  for (const char* name : {"tokenizer.json", "tokenizer.model"}) {
    const auto tokenizer = open_tokenizer_file(shared("tokenizers/llama3") / name);
    for (const auto& vector : vectors)
      EXPECT_EQ(tokenizer->encode(vector["text"].get<std::string>()),
                vector["ids"].get<std::vector<int32_t>>())
          << name << ": " << vector["text"];
  }
}

TEST(TokenizerDataLlama3, BothFilesNameTheSameSpecialTokens) {
  LOWMEM_NEEDS_SHARED("tokenizers/llama3");
  const auto json = open_tokenizer_file(shared("tokenizers/llama3/tokenizer.json"));
  const auto model = open_tokenizer_file(shared("tokenizers/llama3/tokenizer.model"));
  const auto file = read_json(shared("tokenizers/llama3/tokenizer.json"));
  for (const auto& token : file["added_tokens"]) {
    const std::vector<int32_t> expected = {token["id"].get<int32_t>()};
    EXPECT_EQ(json->encode(token["content"].get<std::string>()), expected);
    EXPECT_EQ(model->encode(token["content"].get<std::string>()), expected);
  }
  for (const Tokenizer* tokenizer : {json.get(), model.get()}) {
    EXPECT_EQ(tokenizer->bos_id(), 128000);
    EXPECT_TRUE(tokenizer->adds_bos());
    EXPECT_EQ(tokenizer->vocab_size(), 128256);
  }
  EXPECT_EQ(json->eos_id(), std::nullopt);  // the folder has no configuration
  EXPECT_EQ(model->eos_id(), 128001);
}

TEST(TokenizerDataStories, FoldersGiveBosAndEos) {
  for (const char* name : {"models/tinystories-656k", "models/stories260k"}) {
    LOWMEM_NEEDS_SHARED(name);
    const auto tokenizer = open_tokenizer(shared(name));
    EXPECT_EQ(tokenizer->bos_id(), 1) << name;
    EXPECT_EQ(tokenizer->eos_id(), 2) << name;
    EXPECT_TRUE(tokenizer->adds_bos()) << name;
  }
}

}  // namespace
}  // namespace lowmem::test
