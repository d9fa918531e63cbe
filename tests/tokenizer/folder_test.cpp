// What the files beside a tokenizer decide: BOS, EOS, further tokens.

#include "tokenizer/expected.h"

namespace lowmem::test {
namespace {

using nlohmann::json;

TemporaryFolder& copy_fixture(TemporaryFolder& folder, const std::string& kind) {
  for (const char* name : {"tokenizer.json", "tokenizer.model"}) {
    const auto path = fixture("tokenizers/" + kind) / name;
    if (std::filesystem::exists(path)) std::filesystem::copy(path, folder.path() / name);
  }
  return folder;
}

TEST(TokenizerFolder, WithoutATokenizerIsAnError) {
  TemporaryFolder folder;
  EXPECT_EQ(folder.error().thing(), folder.path().string());
  EXPECT_THROW(open_tokenizer(folder.path() / "missing"), Error);
  EXPECT_THROW(open_tokenizer_file(folder.path() / "tokenizer.json"), Error);
}

TEST(TokenizerFolder, TokenizerJsonComesBeforeTokenizerModel) {
  TemporaryFolder folder;
  copy_fixture(folder, "word_level");
  copy_fixture(folder, "sentencepiece");
  EXPECT_EQ(folder.open()->vocab_size(),
            open_tokenizer(fixture("tokenizers/word_level"))->vocab_size());
}

TEST(TokenizerFolder, NamesComeBeforeIdsAndIdsBeforeTheFilesOwn) {
  TemporaryFolder folder;
  copy_fixture(folder, "sentencepiece");
  EXPECT_EQ(folder.open()->eos_id(), 2);  // the model's own
  folder.write("config.json", json{{"eos_token_id", {7, 8}}, {"bos_token_id", 5}});
  EXPECT_EQ(folder.open()->eos_id(), 7);
  EXPECT_EQ(folder.open()->bos_id(), 5);
  folder.write("generation_config.json", json{{"eos_token_id", 9}});
  EXPECT_EQ(folder.open()->eos_id(), 9);
  EXPECT_EQ(folder.open()->bos_id(), 5);
  folder.write("special_tokens_map.json", json{{"eos_token", "</s>"}});
  EXPECT_EQ(folder.open()->eos_id(), 2);
  folder.write("tokenizer_config.json", json{{"eos_token", {{"content", "<unk>"}}}});
  EXPECT_EQ(folder.open()->eos_id(), 0);
}

TEST(TokenizerFolder, NullIsAsGoodAsNothing) {
  TemporaryFolder folder;
  copy_fixture(folder, "sentencepiece");
  folder.write("tokenizer_config.json",
               json{{"eos_token", nullptr}, {"bos_token", nullptr}});
  folder.write("generation_config.json", json{{"eos_token_id", nullptr}});
  folder.write("config.json", json{{"eos_token_id", json::array()}});
  EXPECT_EQ(folder.open()->eos_id(), 2);
}

TEST(TokenizerFolder, ABosThatTheVocabularyLacksIsAnError) {
  for (const char* kind : {"byte_level", "llama2_style", "sentencepiece", "tiktoken"}) {
    TemporaryFolder folder;
    copy_fixture(folder, kind)
        .write("tokenizer_config.json", json{{"bos_token", "<bos>"}});
    EXPECT_NE(folder.error().thing().find("tokenizer_config.json bos_token"),
              std::string::npos);
    std::filesystem::remove(folder.path() / "tokenizer_config.json");
    for (const int64_t id : {int64_t{-1}, int64_t{5000}, int64_t{1} << 40}) {
      folder.write("config.json", json{{"bos_token_id", id}});
      EXPECT_NE(folder.error().thing().find("config.json bos_token_id"),
                std::string::npos);
    }
  }
}

TEST(TokenizerFolder, WrongTypesInItsFilesAreErrors) {
  const std::vector<std::pair<std::string, json>> files = {
      {"tokenizer_config.json", {{"bos_token", 1}}},
      {"tokenizer_config.json", {{"bos_token", {{"text", "<s>"}}}}},
      {"tokenizer_config.json", {{"add_bos_token", "true"}}},
      {"tokenizer_config.json", {{"added_tokens_decoder", {{"x", {{"content", "a"}}}}}}},
      {"tokenizer_config.json", {{"added_tokens_decoder", {{"-3", {{"content", "a"}}}}}}},
      {"tokenizer_config.json",
       {{"added_tokens_decoder", {{"1099511627776", {{"content", "a"}}}}}}},
      {"tokenizer_config.json",
       {{"added_tokens_decoder",
         {{"600", {{"content", "a"}}}, {"601", {{"content", "a"}}}}}}},
      {"tokenizer_config.json", json::array()},
      {"special_tokens_map.json", {{"additional_special_tokens", "a"}}},
      {"added_tokens.json", {{"a", "1"}}},
      {"generation_config.json", {{"eos_token_id", "2"}}},
      {"config.json", {{"eos_token_id", {"2"}}}},
  };
  for (const auto& [name, content] : files) {
    TemporaryFolder folder;
    copy_fixture(folder, "sentencepiece").write(name, content);
    EXPECT_NE(folder.error().thing().find(name), std::string::npos) << content;
  }
}

// transformers 5.17 drops add_bos_token where there is a tokenizer.json.
TEST(AddsBos, IsThePostProcessorsWordForTokenizerJson) {
  for (const json& post_processor : {tokenizer_file("byte_level")["post_processor"],
                                     json(nullptr), json{{"type", "ByteLevel"}}}) {
    for (const bool flag : {true, false}) {
      TemporaryFolder folder;
      json content = tokenizer_file("byte_level");
      content["post_processor"] = post_processor;
      folder.write("tokenizer.json", content);
      folder.write("tokenizer_config.json",
                   json{{"add_bos_token", flag}, {"bos_token", "<|begin_of_text|>"}});
      EXPECT_EQ(folder.open()->adds_bos(), post_processor.contains("processors"));
      EXPECT_EQ(folder.open()->bos_id(), 640);
    }
  }
}

TEST(AddsBos, GivesTheBosWhereNoOtherFileNamesIt) {
  TemporaryFolder folder;
  copy_fixture(folder, "llama2_style");
  EXPECT_EQ(folder.open()->bos_id(), 1);
  EXPECT_EQ(folder.open()->eos_id(), std::nullopt);
}

TEST(AddsBos, ThatDisagreesWithTheBosIsAnError) {
  TemporaryFolder folder;
  copy_fixture(folder, "llama2_style");
  folder.write("tokenizer_config.json", json{{"bos_token", "</s>"}});
  EXPECT_NE(folder.error().problem().find("the folder's BOS is 2"), std::string::npos);
}

TEST(AddsBos, FollowsAddBosTokenForTokenizerModelAndIsTrueWithoutIt) {
  for (const char* kind : {"sentencepiece", "tiktoken"}) {
    TemporaryFolder folder;
    copy_fixture(folder, kind);
    EXPECT_TRUE(folder.open()->adds_bos());
    folder.write("tokenizer_config.json", json{{"add_bos_token", false}});
    EXPECT_FALSE(folder.open()->adds_bos());
    folder.write("tokenizer_config.json", json{{"add_bos_token", true}});
    EXPECT_TRUE(folder.open()->adds_bos());
  }
}

TEST(TokenizerFolder, GivesSentencePieceFurtherTokens) {
  TemporaryFolder folder;
  copy_fixture(folder, "sentencepiece");
  const auto plain = folder.open();
  folder.write("tokenizer_config.json",
               json{{"added_tokens_decoder",
                     {{"500", {{"content", "[INST]"}, {"special", true}}},
                      {"501", {{"content", "<sep>"}, {"special", false}}}}}});
  folder.write("added_tokens.json", json{{"<sep>", 501}, {"<old>", 502}});
  const auto tokenizer = folder.open();
  EXPECT_EQ(tokenizer->vocab_size(), 503);
  const auto ids = tokenizer->encode("[INST]<sep><old>");
  EXPECT_EQ(ids, (std::vector<int32_t>{500, 501, 502}));
  EXPECT_EQ(tokenizer->decode(ids), "<sep><old>");
  EXPECT_EQ(tokenizer->encode("the king"), plain->encode("the king"));
}

TEST(TokenizerFolder, LegacyPutsASpaceBeforeEveryPartOfASentencePieceText) {
  TemporaryFolder folder;
  copy_fixture(folder, "sentencepiece");
  const auto plain = folder.open();
  const auto king = plain->encode("king");
  auto expected = king;
  expected.push_back(2);
  expected.insert(expected.end(), king.begin(), king.end());
  EXPECT_NE(plain->encode("king</s>king"), expected);
  folder.write("tokenizer_config.json", json{{"legacy", true}});
  EXPECT_EQ(folder.open()->encode("king</s>king"), expected);
}

TEST(TokenizerFolder, NamesTheSpecialTokensOfTiktokenFiles) {
  TemporaryFolder folder;
  copy_fixture(folder, "tiktoken");
  const auto plain = folder.open();
  EXPECT_EQ(plain->vocab_size(), 640 + 256);
  EXPECT_EQ(plain->encode("<|eom_id|>"), std::vector<int32_t>{648});
  folder.write("tokenizer_config.json",
               json{{"eos_token", "<end>"},
                    {"added_tokens_decoder",
                     {{"640", {{"content", "<begin>"}, {"special", true}}},
                      {"641", {{"content", "<end>"}, {"special", true}}}}}});
  const auto named = folder.open();
  EXPECT_EQ(named->vocab_size(), 642);
  EXPECT_EQ(named->eos_id(), 641);
  EXPECT_EQ(named->bos_id(), std::nullopt);
  EXPECT_FALSE(named->adds_bos());
  EXPECT_EQ(named->encode("<begin>"), std::vector<int32_t>{640});
  EXPECT_GT(named->encode("<|eom_id|>").size(), 1u);
}

// transformers 5 sets LlamaTokenizer up by its own rules, whatever tokenizer.json says:
// without `legacy` the space before a text comes once.
TEST(TokenizerFolder, LlamaTokenizerPutsASpaceBeforeTheTextAlone) {
  const auto ids = [](const json& settings, const char* model_type, const char* text) {
    TemporaryFolder folder;
    folder.write("tokenizer.json", tokenizer_file("llama2_style"))
        .write("tokenizer_config.json", settings)
        .write("config.json", json{{"model_type", model_type}});
    return folder.open()->encode(text);
  };
  const json llama = {{"tokenizer_class", "LlamaTokenizer"}};
  const json fast = {{"tokenizer_class", "LlamaTokenizerFast"}, {"legacy", false}};
  const json old = {{"tokenizer_class", "LlamaTokenizer"}, {"legacy", true}};
  const json plain = {{"tokenizer_class", "PreTrainedTokenizerFast"}};
  const auto by_file = ids(plain, "llama", "x</s>the");
  EXPECT_EQ(ids(old, "llama", "x</s>the"), by_file);
  EXPECT_EQ(ids(llama, "mistral", "x</s>the"), by_file);
  const auto once = ids(llama, "llama", "x</s>the");
  EXPECT_NE(once, by_file);
  EXPECT_EQ(ids(fast, "llama", "x</s>the"), once);
  EXPECT_EQ(ids(llama, "llama", "x the"), ids(plain, "llama", "x the"));
}

}  // namespace
}  // namespace lowmem::test
