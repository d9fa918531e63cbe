// --help of the program and of every command, and what else is made of it.
#include <gmock/gmock.h>

#include <filesystem>
#include <sstream>

#include "cli/program.h"

namespace lowmem::test {
namespace {

using testing::ContainsRegex, testing::HasSubstr, testing::StartsWith;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

// The lines between "TITLE:" and the next empty one.
std::vector<std::string> part_of(const std::string& help, const std::string& title) {
  std::vector<std::string> part;
  bool inside = false;
  for (const std::string& line : lines_of(help)) {
    if (line.empty()) inside = false;
    if (inside) part.push_back(line);
    if (line == title + ":") inside = true;
  }
  return part;
}

std::vector<std::string> commands() {
  std::vector<std::string> names;
  for (const std::string& line : part_of(run_program("--help").output, "Commands"))
    if (line[2] != ' ')  // a description's second line is indented
      names.push_back(line.substr(2, line.find(' ', 2) - 2));
  return names;
}

std::string repository_file(const std::string& name) {
  return read_file(std::filesystem::path(LOWMEM_FIXTURES) / "../.." / name);
}

void expect_a_whole_page(const Outcome& help) {
  EXPECT_EQ(help.status, 0);
  EXPECT_THAT(help.output, HasSubstr("\nUsage: lowmem-train "));
  EXPECT_THAT(help.output, HasSubstr("\nExit status:\n  0 "));
  EXPECT_THAT(help.output, ContainsRegex("\nExamples?:\n  [a-z]"));
  EXPECT_THAT(help.output, HasSubstr("  -h, --help "));
  for (const std::string& line : lines_of(help.output))
    EXPECT_LE(line.size(), 80u) << line;
}

TEST(Help, OfEveryCommandHasUsageOptionsExitStatusAndAnExample) {
  const std::vector<std::string> names = commands();
  EXPECT_GE(names.size(), 8u);
  expect_a_whole_page(run_program("--help"));
  for (const std::string& name : names) {
    SCOPED_TRACE(name);
    const Outcome help = run_program(name + " --help");
    expect_a_whole_page(help);
    EXPECT_THAT(help.output, HasSubstr("Usage: lowmem-train " + name + " [OPTIONS]"));
    EXPECT_THAT(help.output, HasSubstr("lowmem-train " + name + " "));
  }
}

TEST(Help, GroupsOptionsAndNamesTheirWordsAndDefaults) {
  const std::string help = run_program("--help").output;
  EXPECT_THAT(part_of(help, "Options"),
              testing::ElementsAre(StartsWith("  --resume "), StartsWith("      ")));
  EXPECT_THAT(part_of(help, "General"),
              testing::UnorderedElementsAre(StartsWith("  -h, --help "),
                                            StartsWith("  -q, --quiet "),
                                            StartsWith("  --version ")));
  EXPECT_THAT(help, HasSubstr("  --optimizer adam|adamw|adafactor|sgd"));
  EXPECT_THAT(help, ContainsRegex("--epochs N +short for train.epochs=... .default 3."));
  EXPECT_THAT(help, HasSubstr("\n  optimizer.lr=1.0e-4 "));
  const std::string init = run_program("init --help").output;
  EXPECT_THAT(init, HasSubstr("Usage: lowmem-train init [OPTIONS] CONFIG DIR\n"));
  EXPECT_THAT(init,
              ContainsRegex("--dtype fp32.bf16 +type of the weights .default bf16."));
  EXPECT_THAT(run_program("plan --help").output,
              HasSubstr("Usage: lowmem-train plan [OPTIONS] [KEY=VALUE...]\n"));
}

TEST(Help, TellsWhatASignalReturnsWhereItTrains) {
  EXPECT_THAT(run_program("--help").output,
              HasSubstr("\n  129, 130, 138, 140, 143, 152"));
}

TEST(Help, OfEveryCommandIsInTheManPage) {
  const std::string page = run_program("manual man").output;
  EXPECT_THAT(page, StartsWith(".TH LOWMEM\\-TRAIN 1 "));
  for (const std::string& name : commands())
    EXPECT_THAT(page, HasSubstr("\n.SS " + name + "\n"));
  EXPECT_THAT(page, HasSubstr("\n.B \\-\\-resume\n"));
  EXPECT_THAT(page, HasSubstr("\n.B memory.force=false\n"));
}

TEST(Readme, NamesEveryCommand) {
  const std::string page = repository_file("README.md");
  for (const std::string& name : commands())
    EXPECT_THAT(page, HasSubstr("`lowmem-train " + name + " "));
}

TEST(Manual, PrintsTheTablesOfTheConfigurationPage) {
  const Outcome keys = run_program("manual keys");
  EXPECT_EQ(keys.status, 0);
  EXPECT_THAT(keys.output,
              HasSubstr("\n| `memory.force` | `false` | `true`, `false` | "));
  EXPECT_THAT(repository_file("docs/configuration.md"), HasSubstr(keys.output))
      << "run scripts/make_docs.sh";
}

TEST(Manual, RefusesFormsAndShellsThatItDoesNotHave) {
  const Outcome form = run_program("manual html");
  EXPECT_EQ(form.status, 1);
  EXPECT_THAT(form.output, HasSubstr("keys"));
  const Outcome shell = run_program("completion fish");
  EXPECT_EQ(shell.status, 1);
  EXPECT_THAT(shell.output, HasSubstr("bash"));
}

}  // namespace
}  // namespace lowmem::test
