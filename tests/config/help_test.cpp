#include "lowmem/config/help.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <sstream>

#include "config/support.h"
#include "lowmem/core/files.h"

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

TEST(ConfigKeys, TellTheWordsThatMayBeWritten) {
  using testing::ElementsAre, testing::IsEmpty;
  EXPECT_THAT(key_named("optimizer.name").words,
              ElementsAre("adam", "adamw", "adafactor", "sgd"));
  EXPECT_THAT(key_named("run.overwrite").words, ElementsAre("true", "false"));
  EXPECT_THAT(key_named("optimizer.beta2").words, ElementsAre("auto"));
  EXPECT_THAT(key_named("eval.every").words, ElementsAre("epoch", "never"));
  EXPECT_THAT(key_named("run.name").words, IsEmpty());
  EXPECT_THAT(key_named("run.seed").words, IsEmpty());
}

// Its lines that begin with 36 blanks joined to those before.
std::string unwrapped(std::string help) {
  const std::string margin = "\n" + std::string(36, ' ');
  for (size_t at = 0; (at = help.find(margin, at)) != std::string::npos; ++at) {
    help.replace(at, margin.size(), " ");
  }
  return help;
}

TEST(ConfigHelp, ShowsEveryKeyWithDefaultDocAndChoices) {
  const std::string help = unwrapped(config_help());
  for (const KeyInfo& key : config_keys()) {
    const size_t at = help.find("\n  " + key.name + "=" + key.default_value + " ");
    ASSERT_NE(at, std::string::npos) << key.name;
    EXPECT_NE(help.find(key.doc, at), std::string::npos) << key.name;
  }
  EXPECT_THAT(config_help(),
              HasSubstr("\n" + std::string(36, ' ') + "constant | linear | cosine\n"));
}

TEST(ConfigHelp, FitsATerminalAndAlignsItsDocs) {
  std::istringstream lines(config_help());
  for (std::string line; std::getline(lines, line);) {
    EXPECT_LE(line.size(), kHelpWidth) << line;
    if (line.starts_with("  ")) {
      ASSERT_GT(line.size(), 36u) << line;
      EXPECT_EQ(line[35], ' ') << line;
      EXPECT_NE(line[36], ' ') << line;
    }
  }
}

TEST(ConfigMarkdown, HasARowForEveryKeyWithDefaultWordsAndDoc) {
  const std::string tables = config_markdown();
  EXPECT_THAT(tables, HasSubstr("\n| `optimizer.beta2` | `auto` | number, `auto` | "));
  EXPECT_THAT(tables,
              HasSubstr("\n| `eval.every` | `epoch` | `epoch`, `never`, number of "
                        "steps | "));
  EXPECT_THAT(tables, HasSubstr("patterns such as \\*.mlp.\\* | the result |\n"));
  for (const KeyInfo& key : config_keys()) {
    const size_t at =
        tables.find("\n| `" + key.name + "` | `" + key.default_value + "` | ");
    ASSERT_NE(at, std::string::npos) << key.name;
    const std::string row = tables.substr(at, tables.find('\n', at + 1) - at);
    EXPECT_EQ(std::count(row.begin(), row.end(), '|'), 6) << row;
    for (const std::string& word : key.words)
      EXPECT_THAT(row, HasSubstr("`" + word + "`")) << key.name;
  }
}

TEST(ConfigurationPage, HoldsTheTablesOfKeysAsTheProgramPrintsThem) {
  const std::string page =
      read_file(std::filesystem::path(LOWMEM_FIXTURES) / "../../docs/configuration.md");
  const std::string begin = "\n<!-- keys: written by scripts/make_docs.sh -->\n";
  const size_t first = page.find(begin);
  const size_t last = page.find("<!-- end of keys -->\n");
  ASSERT_NE(first, std::string::npos);
  ASSERT_NE(last, std::string::npos);
  EXPECT_EQ(page.substr(first + begin.size(), last - first - begin.size()),
            config_markdown())
      << "docs/configuration.md is not current: run scripts/make_docs.sh";
}

}  // namespace
}  // namespace lowmem
