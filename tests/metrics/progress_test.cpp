#include "lowmem/metrics/progress.h"

#include <gmock/gmock.h>

#include "support/live_terminal.h"

namespace lowmem::metrics {
namespace {

using testing::ElementsAre, testing::IsEmpty, testing::MatchesRegex;

class ProgressLine : public test::LiveTerminal {};

TEST_F(ProgressLine, SaysWhatIsDoneOfHowMuch) {
  {
    Progress progress("reading rows", 4000);
    EXPECT_THAT(shown(), ElementsAre("reading rows"));
    wait();
    progress.add(1000);
    EXPECT_THAT(shown(), ElementsAre("reading rows  1,000 of 4,000  25%"));
  }
  EXPECT_THAT(shown(), IsEmpty());
}

TEST_F(ProgressLine, CountsBytesInTheirUnits) {
  Progress progress("loading", 3 << 20, Progress::Unit::kBytes);
  wait();
  progress.add(3 << 19);
  EXPECT_THAT(shown(), ElementsAre("loading  1.5 MiB of 3.0 MiB  50%"));
}

TEST_F(ProgressLine, NamesTheTimeLeftOnceItCanBeJudged) {
  Progress progress("loading", 2);
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));
  progress.add();
  EXPECT_THAT(shown(),
              ElementsAre(MatchesRegex("loading  1 of 2  50%  1\\.[1-9] s left")));
}

TEST_F(ProgressLine, DoesWithoutATotal) {
  Progress progress("reading");
  wait();
  progress.add(1234);
  EXPECT_THAT(shown(), ElementsAre("reading  1,234"));
}

// However fast they come: a row more often than the line is drawn, then slow ones.
TEST_F(ProgressLine, KeepsUpWithFastAndSlowItems) {
  Progress progress("reading", 0);
  for (int i = 0; i < 5'000'000; ++i) progress.add();
  for (int i = 0; i < 60; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(25));
    progress.add();
  }
  EXPECT_EQ(progress.done(), 5'000'060);
  const auto lines = shown();
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_THAT(lines[0], MatchesRegex("reading  5,000,0[1-6][0-9]"));
}

TEST(ProgressElsewhere, WritesNothingOfAShortStage) {
  testing::internal::CaptureStderr();
  log::set_up(/*quiet=*/false);
  {
    Progress progress("reading", 100);
    for (int i = 0; i < 100; ++i) progress.add();
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST(ProgressElsewhere, CostsAFewNanosecondsAnItem) {
  constexpr int64_t kItems = 20'000'000;
  Progress progress("reading", kItems);
  const auto start = std::chrono::steady_clock::now();
  for (int64_t i = 0; i < kItems; ++i) progress.add();
  const std::chrono::duration<double, std::nano> spent =
      std::chrono::steady_clock::now() - start;
  EXPECT_LT(spent.count() / kItems, 50);  // a row takes thousands
}

}  // namespace
}  // namespace lowmem::metrics
