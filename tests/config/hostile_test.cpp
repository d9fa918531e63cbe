// YAML made to hurt, as large as a configuration may be: soon read, or soon refused.

#include <gtest/gtest.h>

#include <chrono>

#include "config/support.h"
#include "io/temp_folder.h"
#include "lowmem/config/yaml.h"

namespace lowmem::test {
namespace {

constexpr size_t kMost = 1 << 20;  // bytes of a configuration

struct Hostile {
  const char* name;
  std::string begin, repeated;
};

std::string text_of(const Hostile& hostile) {
  std::string text = hostile.begin;
  text.reserve(kMost + 16);
  while (text.size() < kMost) text += hostile.repeated;
  return text;
}

class HostileYaml : public testing::TestWithParam<Hostile> {};

TEST_P(HostileYaml, EndsWithinSecondsInAnErrorOrNone) {
  const std::string text = text_of(GetParam());
  const auto start = std::chrono::steady_clock::now();
  RunConfig config;
  try {
    apply_yaml(config, text, "hostile.yaml");
    EXPECT_EQ(to_yaml(config), to_yaml(RunConfig()));
  } catch (const Error&) {
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
}

INSTANTIATE_TEST_SUITE_P(
    All, HostileYaml,
    testing::Values(Hostile{"Lists", "", "["}, Hostile{"Maps", "", "{a: "},
                    Hostile{"DashesOnALine", "", "- "},
                    Hostile{"QuestionMarks", "", "? "}, Hostile{"Colons", "", ": "},
                    Hostile{"Anchors", "", "&a "}, Hostile{"Tags", "", "!!a "},
                    Hostile{"AnchoredLists", "a: &a [x]\n", "b: [*a, *a, *a]\n"},
                    Hostile{"Merges", "a: &a {b: c}\n", "b: {<<: *a}\n"},
                    Hostile{"OpenQuote", "a: \"", "\\x41\n"},
                    Hostile{"OpenBlock", "run: |\n", "  line\n"},
                    Hostile{"Documents", "", "---\n"},
                    Hostile{"Directives", "", "%A b\n"},
                    Hostile{"UnknownKeys", "x: 1\n", "zzzzzzzzz: 1\n"},
                    Hostile{"OneKey", "", "k"}, Hostile{"Tabs", "", "\t"},
                    Hostile{"ListOfLists", "run:\n", "  - - - - - - - - - - -\n"},
                    Hostile{"OpenMap", "run: {", "a, "},
                    Hostile{"BytesThatAreNoText", "", "\xFF"}),
    [](const auto& tested) { return std::string(tested.param.name); });

TEST(HostileYamlFile, IsNoLargerThan1MiB) {
  const TempFolder folder;
  write_text(folder / "run.yaml", "run:");
  std::filesystem::resize_file(folder / "run.yaml", kMost + 1);
  const Error error = error_of([&] { load_config(folder / "run.yaml"); });
  EXPECT_NE(error.problem().find("such a file may have"), std::string::npos);
}

}  // namespace
}  // namespace lowmem::test
