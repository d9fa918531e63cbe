// Ids, texts, BOS and EOS as the reference libraries give them for the committed
// tokenizers.

#include <atomic>
#include <thread>

#include "tokenizer/expected.h"

namespace lowmem::test {
namespace {

class TokenizerReference : public testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<Tokenizer> tokenizer_ =
      open_tokenizer(fixture("tokenizers/" + GetParam()));
  nlohmann::json reference_ = tokenizer_reference(GetParam());
};

TEST_P(TokenizerReference, LinesAndHardStringsHaveTheReferenceIds) {
  expect_cases(*tokenizer_, tokenizer_reference("texts"), reference_["cases"]);
}

TEST_P(TokenizerReference, SpecialTokensWrittenInATextAreIds) {
  expect_cases(*tokenizer_, reference_["special_texts"], reference_["special_cases"]);
}

TEST_P(TokenizerReference, BosAndEosAreThoseOfTheFolder) {
  EXPECT_EQ(tokenizer_->bos_id(), reference_["bos"].get<int32_t>());
  EXPECT_EQ(tokenizer_->eos_id(), reference_["eos"].get<int32_t>());
  EXPECT_EQ(tokenizer_->adds_bos(), reference_["adds_bos"].get<bool>());
}

TEST_P(TokenizerReference, EncodeNeverReachesTheVocabularySize) {
  int32_t largest = 0;
  for (const auto& text : tokenizer_reference("texts"))
    for (const int32_t id : tokenizer_->encode(read_text(text)))
      largest = std::max(largest, id);
  EXPECT_GT(largest, 0);
  EXPECT_LT(largest, tokenizer_->vocab_size());
}

TEST_P(TokenizerReference, DecodeLeavesOutIdsThatTheVocabularyLacks) {
  const auto ids = tokenizer_->encode("the a");
  auto with_others = ids;
  with_others.insert(with_others.begin() + 1, {-1, 1 << 30, INT32_MAX, INT32_MIN});
  EXPECT_EQ(tokenizer_->decode(with_others), tokenizer_->decode(ids));
}

TEST_P(TokenizerReference, FourThreadsGetTheIdsOfOne) {
  std::vector<std::string> texts;
  for (const auto& text : tokenizer_reference("texts")) texts.push_back(read_text(text));
  std::vector<std::vector<int32_t>> expected;
  for (const std::string& text : texts) expected.push_back(tokenizer_->encode(text));
  std::atomic<int> differing = 0;
  std::vector<std::thread> threads;
  for (size_t t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (size_t i = 0; i < texts.size(); ++i) {
        const size_t at = (i + t * texts.size() / 4) % texts.size();
        if (tokenizer_->encode(texts[at]) != expected[at]) ++differing;
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(differing, 0);
}

INSTANTIATE_TEST_SUITE_P(Kinds, TokenizerReference,
                         testing::Values("byte_level", "llama2_style", "sentencepiece",
                                         "tiktoken", "word_level"),
                         [](const auto& kind) { return kind.param; });

class TokenizerJsonVariant : public testing::TestWithParam<std::string> {};

TEST_P(TokenizerJsonVariant, HasTheReferenceIds) {
  const nlohmann::json reference = tokenizer_reference("variants");
  for (const auto& variant : reference["variants"]) {
    if (variant["name"] != GetParam()) continue;
    nlohmann::json content = tokenizer_file(variant["base"]);
    content.merge_patch(variant["patch"]);
    TemporaryFolder folder;
    folder.write("tokenizer.json", content);
    expect_cases(*folder.open(), reference["texts"], variant["cases"]);
    return;
  }
  FAIL() << "the references lack the variant " << GetParam();
}

INSTANTIATE_TEST_SUITE_P(PreTokenizers, TokenizerJsonVariant,
                         testing::Values("qwen", "tekken", "nfc_within", "phi3",
                                         "mistral_v3", "gpt2", "gpt2_prefix_space",
                                         "gpt4o", "deepseek", "digit_runs", "smollm",
                                         "removed_inverted", "removed", "lines", "whole",
                                         "symbols", "whitespace", "metaspace_first",
                                         "metaspace_always", "metaspace_never"),
                         [](const auto& name) { return name.param; });
INSTANTIATE_TEST_SUITE_P(Models, TokenizerJsonVariant,
                         testing::Values("unknown_fused", "unknown_single",
                                         "unknown_dropped", "no_decoder", "added_tokens",
                                         "normalized_tokens"),
                         [](const auto& name) { return name.param; });

std::unique_ptr<Tokenizer> with_nfc() {
  nlohmann::json content = tokenizer_file("byte_level");
  content["normalizer"] = {{"type", "NFC"}};
  return TemporaryFolder().write("tokenizer.json", content).open();
}

// Byte-level pieces spell what the normalizer has left of a text.
TEST(NormalizationFormC, IsThatOfTheTokenizersLibrary) {
  const auto tokenizer = with_nfc();
  const nlohmann::json texts = tokenizer_reference("nfc");
  ASSERT_GT(texts.size(), 300);
  for (const auto& pair : texts) {
    const auto text = pair[0].get<std::string>();
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)), pair[1].get<std::string>())
        << text;
  }
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("e\xCC\x81")), "\xC3\xA9");
}

TEST(NormalizationFormC, RefusesMoreMarksThanAnyWritingHas) {
  const auto tokenizer = with_nfc();
  std::string text = "a";
  for (int i = 0; i < 5000; ++i) text += i % 2 == 0 ? "\xCC\x81" : "\xCC\xA3";
  EXPECT_THROW(tokenizer->encode(text), Error);
  EXPECT_NO_THROW(tokenizer->encode(text.substr(0, 2001)));
}

}  // namespace
}  // namespace lowmem::test
