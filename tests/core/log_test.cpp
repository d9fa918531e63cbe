#include "lowmem/core/log.h"

#include <gtest/gtest.h>

namespace lowmem {
namespace {

std::string logged(bool quiet) {
  testing::internal::CaptureStderr();
  testing::internal::CaptureStdout();
  log::set_up(quiet);
  log::info("read 3 rows");
  log::warn("2 rows are too long");
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
  return testing::internal::GetCapturedStderr();
}

TEST(Log, WritesPlainLinesToStandardErrorAlone) {
  EXPECT_EQ(logged(/*quiet=*/false), "read 3 rows\nwarning: 2 rows are too long\n");
}

TEST(Log, QuietLeavesWarnings) {
  EXPECT_EQ(logged(/*quiet=*/true), "warning: 2 rows are too long\n");
}

// A path or a row of data may hold what a formatting library would take for its own.
TEST(Log, TakesBracesAndPercentSignsAsTheyAre) {
  testing::internal::CaptureStderr();
  log::set_up(/*quiet=*/false);
  log::info("{} {0} {x %v %s");
  log::error("}");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "{} {0} {x %v %s\nerror: }\n");
}

std::string shown(std::string_view line) {
  testing::internal::CaptureStderr();
  log::set_up(false);
  log::warn(line);
  return testing::internal::GetCapturedStderr();
}

TEST(Log, ShowsNothingThatATerminalWouldObey) {
  EXPECT_EQ(shown("a\x1b]0;title\x07 \xc2\x9b"
                  "2J b\rc\x7f"),
            "warning: a?]0;title? ?2J b?c?\n");
}

TEST(Log, LetsNoNameBeginALineOfItsOwn) {
  EXPECT_EQ(shown("tensor x\nerror: forged is left out"),
            "warning: tensor x?error: forged is left out\n");
  EXPECT_EQ(shown("thing: problem.\n       Remedy."),
            "warning: thing: problem.\n       Remedy.\n");
}

TEST(Log, LeavesOtherAlphabetsAsTheyAre) {
  EXPECT_EQ(shown("Größe 模型 \u00e9"), "warning: Größe 模型 \u00e9\n");
}

}  // namespace
}  // namespace lowmem
