// `lowmem-train report` from the outside.
#include <gmock/gmock.h>

#include "cli/program.h"

namespace lowmem::test {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

class ReportCommand : public DemoProgram {
 protected:
  static void SetUpTestSuite() {
    DemoProgram::SetUpTestSuite();
    for (const char* name :
         {"keep memory.activations=keep", "again memory.activations=recompute"}) {
      const std::string text = name;
      const size_t space = text.find(' ');
      const Outcome run =
          run_program("--quiet " + quick(text.substr(0, space)) + text.substr(space) +
                      " eval.data=" + at("val.jsonl") + " eval.limit=8");
      ASSERT_EQ(run.status, 0) << run.output;
    }
  }
  void SetUp() override { fs::remove(page()); }
  static fs::path page() { return folder() / "runs" / "report.html"; }
};

TEST_F(ReportCommand, WritesItsPageBesideTheRuns) {
  const Outcome report = run_program("report " + at("runs"));
  ASSERT_EQ(report.status, 0) << report.output;
  EXPECT_THAT(report.output, HasSubstr("| keep | fp32 Adam, update in backward"));
  EXPECT_THAT(report.output, HasSubstr("| method | memory.activations |\n"));
  EXPECT_THAT(report.output, HasSubstr("report.html"));
  EXPECT_THAT(read_file(page()), HasSubstr("Equal in every number: again, keep."));
  // Named by `runs/*` next time, and replaced.
  EXPECT_EQ(run_program("report " + at("runs") + "/*").status, 0);
}

TEST_F(ReportCommand, PrintsTheTablesAlone) {
  const Outcome report = run_program("report --no-html " + at("runs/keep"));
  EXPECT_EQ(report.status, 0) << report.output;
  EXPECT_THAT(report.output, HasSubstr("| keep |"));
  EXPECT_FALSE(fs::exists(page()));
}

TEST_F(ReportCommand, WritesItsPageElsewhere) {
  const Outcome report =
      run_program("report " + at("runs") + " --html " + at("elsewhere.html"));
  EXPECT_EQ(report.status, 0) << report.output;
  EXPECT_FALSE(fs::exists(page()));
  EXPECT_THAT(read_file(at("elsewhere.html")), HasSubstr("</html>"));
}

TEST_F(ReportCommand, KeepsAPageThatItDidNotMake) {
  write_file_atomically(at("mine.json"), "{}");
  const Outcome named =
      run_program("report " + at("runs") + " --html " + at("mine.json"));
  EXPECT_EQ(named.status, 1);
  EXPECT_EQ(read_file(at("mine.json")), "{}");
  write_file_atomically(page(), "<html>mine</html>");
  const Outcome report = run_program("report " + at("runs"));
  EXPECT_EQ(report.status, 1);
  EXPECT_THAT(report.output,
              HasSubstr("report.html: is there, and is not what --html writes"));
  EXPECT_EQ(read_file(page()), "<html>mine</html>");
}

TEST_F(ReportCommand, ShowsARunWhoseSettingsItCannotRead) {
  fs::create_directories(folder() / "older" / "run");
  fs::copy(folder_of("keep") / "results.json", folder() / "older" / "run");
  write_file_atomically(at("older/run/config.yaml"), "run: { colour: red }\n");
  const Outcome report = run_program("report --no-html " + at("older"));
  EXPECT_EQ(report.status, 0) << report.output;
  EXPECT_THAT(report.output, HasSubstr("colour"));
  EXPECT_THAT(report.output, HasSubstr("| run | - |"));
}

TEST_F(ReportCommand, NamesAFolderWithoutRuns) {
  const Outcome report = run_program("report " + at("model"));
  EXPECT_EQ(report.status, 1);
  EXPECT_THAT(report.output, HasSubstr("model: is no run's folder and holds none"));
}

TEST_F(ReportCommand, ThatCannotBePrintedIsAnError) {
  const Outcome full =
      run_command("( " LOWMEM_TRAIN " report --no-html " + at("runs") + " >/dev/full )");
  EXPECT_EQ(full.status, 1);
  EXPECT_THAT(full.output, HasSubstr("error: standard output: cannot be written"));
}

}  // namespace
}  // namespace lowmem::test
