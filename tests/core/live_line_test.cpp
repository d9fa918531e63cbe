#include "lowmem/core/live_line.h"

#include <gmock/gmock.h>

#include "support/live_terminal.h"

namespace lowmem {
namespace {

using testing::ElementsAre, testing::IsEmpty;

class LiveLine : public test::LiveTerminal {};

TEST_F(LiveLine, IsRewrittenInPlace) {
  live_line::show("one of three");
  EXPECT_THAT(shown(), ElementsAre("one of three"));
  wait();
  live_line::show("two");
  EXPECT_THAT(shown(), ElementsAre("two"));
  live_line::show("");
  EXPECT_THAT(shown(), IsEmpty());
  EXPECT_TRUE(screen_.cursor_on_a_fresh_line());
}

TEST_F(LiveLine, StaysBelowTheLog) {
  log::info("read 3 rows");
  live_line::show("reading");
  log::warn("2 rows are too long");
  log::info("a line of the log may be longer");
  EXPECT_THAT(shown(), ElementsAre("read 3 rows", "warning: 2 rows are too long",
                                   "a line of the log may be longer", "reading"));
  live_line::show("");
  EXPECT_THAT(shown(), ElementsAre("read 3 rows", "warning: 2 rows are too long",
                                   "a line of the log may be longer"));
}

TEST_F(LiveLine, LeavesTheCursorOnAFreshLineAtAnyMoment) {
  for (const char* text : {"one", "two", ""}) {
    live_line::show(text);
    wait();
    shown();
    EXPECT_TRUE(screen_.cursor_on_a_fresh_line()) << text;
  }
}

TEST_F(LiveLine, IsDrawnAtMostTenTimesASecond) {
  for (int i = 0; i < 1000; ++i) live_line::show("number " + std::to_string(i));
  EXPECT_THAT(shown(), ElementsAre("number 0"));
  EXPECT_FALSE(live_line::due());
  wait();
  EXPECT_TRUE(live_line::due());
  live_line::show("the next");
  EXPECT_THAT(shown(), ElementsAre("the next"));
}

TEST_F(LiveLine, IsCutToTheWidthBetweenCharacters) {
  EXPECT_EQ(live_line::columns(), kColumns);
  const auto cut = [&](const std::string& text) {
    live_line::show("");
    live_line::show(text);
    return shown().back();
  };
  const auto behind = [](size_t columns, std::string_view tail) {
    std::string text(columns, 'x');
    text.append(tail);
    return text;
  };
  EXPECT_EQ(cut(behind(200, "")), behind(kColumns - 1, ""));
  EXPECT_EQ(cut(behind(kColumns - 2, "\u00e9\u00e9")), behind(kColumns - 2, "\u00e9"));
  // Wide ones take two columns.
  EXPECT_EQ(cut(behind(kColumns - 3, "\u4e2d\u4e2d")), behind(kColumns - 3, "\u4e2d"));
}

TEST_F(LiveLine, ShowsNoControlCharacters) {
  live_line::show("a\nb\x1b[2Jc\td\x7f \xc2\x9b \xff");
  EXPECT_THAT(shown(), ElementsAre("a?b?[2Jc?d? ? ?"));
}

TEST_F(LiveLine, OfAScopeGivesWayToTheOneBefore) {
  live_line::show("step 3");
  wait();
  {
    const live_line::Scope saving("saving");
    EXPECT_THAT(shown(), ElementsAre("saving"));
    wait();
  }
  EXPECT_THAT(shown(), ElementsAre("step 3"));
}

TEST_F(LiveLine, IsNotForDumbTerminals) {
  for (const char* terminal : {"dumb", ""}) {
    ::setenv("TERM", terminal, 1);
    log::set_up(/*quiet=*/false);
    EXPECT_FALSE(live_line::on());
    live_line::show("reading");
    log::info("read 3 rows");
  }
  EXPECT_EQ(terminal_.read(), "read 3 rows\r\nread 3 rows\r\n");  // the terminal's \r
}

TEST_F(LiveLine, IsNotForAQuietProgram) {
  log::set_up(/*quiet=*/true);
  EXPECT_FALSE(live_line::on());
  live_line::show("reading");
  log::info("read 3 rows");
  log::warn("2 rows are too long");
  EXPECT_EQ(terminal_.read(), "warning: 2 rows are too long\r\n");
}

TEST(LiveLineElsewhere, WritesNothing) {
  testing::internal::CaptureStderr();
  log::set_up(/*quiet=*/false);
  EXPECT_FALSE(live_line::on());
  EXPECT_FALSE(live_line::due());
  live_line::show("reading");
  { const live_line::Scope saving("saving"); }
  log::info("read 3 rows");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "read 3 rows\n");
}

}  // namespace
}  // namespace lowmem
