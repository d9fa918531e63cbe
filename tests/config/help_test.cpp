#include "lowmem/config/help.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include "config/support.h"

namespace lowmem {
namespace {

using testing::HasSubstr;

KeyInfo key_named(const std::string& name) {
  for (const KeyInfo& key : config_keys())
    if (key.name == name) return key;
  ADD_FAILURE() << "no key " << name;
  return {};
}

TEST(ConfigKeys, ListEveryKeyInOrder) {
  std::vector<std::string> expected;
  RunConfig config;
  test::for_each_key(config, [&](const std::string& key, auto&, const char*) {
    expected.push_back(key);
  });
  std::vector<std::string> listed;
  for (const KeyInfo& key : config_keys()) listed.push_back(key.name);
  EXPECT_EQ(listed, expected);
}

TEST(ConfigKeys, TellTypeAndDefault) {
  EXPECT_EQ(key_named("optimizer.name").type, "adam | adamw | adafactor | sgd");
  EXPECT_EQ(key_named("optimizer.name").default_value, "adafactor");
  EXPECT_EQ(key_named("optimizer.lr").type, "number");
  EXPECT_EQ(key_named("optimizer.lr").default_value, "1.0e-4");
  EXPECT_EQ(key_named("optimizer.beta2").type, "number | auto");
  EXPECT_EQ(key_named("optimizer.beta2").default_value, "auto");
  EXPECT_EQ(key_named("run.seed").type, "integer");
  EXPECT_EQ(key_named("run.seed").default_value, "42");
  EXPECT_EQ(key_named("run.overwrite").type, "true | false");
  EXPECT_EQ(key_named("model.train").default_value, "layers");
  EXPECT_EQ(key_named("model.dtype").type, "fp32 | bf16");
  EXPECT_EQ(key_named("data.train").default_value, "[]");
  EXPECT_EQ(key_named("eval.every").default_value, "epoch");
}

TEST(ConfigHelp, ShowsEveryKeyWithDefaultDocAndChoices) {
  const std::string help = config_help();
  for (const KeyInfo& key : config_keys()) {
    const size_t at = help.find("\n  " + key.name + "=" + key.default_value + " ");
    ASSERT_NE(at, std::string::npos) << key.name;
    EXPECT_NE(help.find(key.doc, at), std::string::npos) << key.name;
  }
  EXPECT_THAT(help,
              HasSubstr("\n" + std::string(36, ' ') + "constant | linear | cosine\n"));
}

TEST(ConfigHelp, EveryKeyIsInTheConfigurationPageWithAllItsWords) {
  const auto page_file =
      std::filesystem::path(LOWMEM_FIXTURES) / "../../docs/configuration.md";
  std::ifstream file(page_file);
  const std::string page{std::istreambuf_iterator<char>(file), {}};
  for (const KeyInfo& key : config_keys()) {
    EXPECT_THAT(page, HasSubstr("`" + key.name + "`"));
    if (key.type.find('|') == std::string::npos ||
        key.type.find("number") != std::string::npos)
      continue;
    std::istringstream words(key.type);
    for (std::string word; words >> word;)
      if (word != "|") {
        EXPECT_THAT(page, HasSubstr("`" + word + "`")) << key.name;
      }
  }
}

TEST(ConfigHelp, FitsATerminalAndAlignsItsDocs) {
  std::istringstream lines(config_help());
  for (std::string line; std::getline(lines, line);) {
    EXPECT_LE(line.size(), 104u) << line;
    if (line.starts_with("  ")) {
      ASSERT_GT(line.size(), 36u) << line;
      EXPECT_EQ(line[35], ' ') << line;
      EXPECT_NE(line[36], ' ') << line;
    }
  }
}

}  // namespace
}  // namespace lowmem
