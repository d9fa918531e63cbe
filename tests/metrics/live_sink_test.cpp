#include <gmock/gmock.h>

#include "lowmem/core/units.h"
#include "lowmem/metrics/sinks.h"
#include "support/live_terminal.h"

namespace lowmem::metrics {
namespace {

using testing::ElementsAre, testing::EndsWith, testing::IsEmpty;

Moment moment(int64_t step, double loss = 2.5) {
  return {.step = step,
          .epoch = 0.25,
          .loss = loss,
          .tokens = 500,
          .seconds = 0.25,
          .bytes = 3 * kGiB,
          .peak_bytes = 4 * kGiB};
}

// By width, since what does not fit is left out.
class LiveSink : public test::LiveTerminal {
 protected:
  void set_columns(unsigned short columns) {
    winsize size{};
    size.ws_col = columns;
    size.ws_row = 24;
    ASSERT_EQ(::ioctl(terminal_.descriptor(), TIOCSWINSZ, &size), 0);
    terminal_.read();  // of a sink before
    screen_ = test::Screen(columns);
  }
};

TEST_F(LiveSink, SaysWhereTheRunIs) {
  set_columns(120);
  {
    const auto sink = live_sink(100, 0);
    EXPECT_THAT(shown(), ElementsAre("step 0/100"));
    wait();
    sink->moment(moment(20));
    EXPECT_THAT(shown(), ElementsAre("step 20/100  epoch 0.25  loss 2.5000  "
                                     "2,000 tokens/s  memory 3.00 GiB, peak 4.00 GiB  "
                                     "20.0 s left"));
  }
  EXPECT_THAT(shown(), IsEmpty());
}

TEST_F(LiveSink, IsShorterOnNarrowTerminals) {
  const auto line = [&](unsigned short columns) {
    set_columns(columns);
    const auto sink = live_sink(100, 0);
    wait();
    sink->moment(moment(20));
    return shown().back();
  };
  EXPECT_EQ(
      line(80),
      "20/100  epoch 0.25  loss 2.5000  2,000 tokens/s  3.00/4.00 GiB  20.0 s left");
  EXPECT_EQ(line(70), "20/100  loss 2.5000  2,000 tokens/s  3.00/4.00 GiB  20.0 s left");
  EXPECT_EQ(line(50), "20/100  loss 2.5000  3.00/4.00 GiB  20.0 s left");
  EXPECT_EQ(line(20), "20/100  loss 2.5000");
}

TEST_F(LiveSink, CountsTheEvaluationsToCome) {
  set_columns(120);
  const auto sink = live_sink(100, 30);
  sink->evaluation(
      {.step = 0, .epoch = 0, .accuracy = {}, .perplexity = {}, .seconds = 7});
  wait();
  sink->moment(moment(40));  // 60 steps of 0.25 s; after steps 60, 90 and 100
  EXPECT_THAT(shown().back(), EndsWith("  36.0 s left"));
}

TEST_F(LiveSink, LeavesSkippedStepsOutOfTheMeanLoss) {
  set_columns(120);
  const auto sink = live_sink(100, 0);
  sink->moment(moment(1, 2));
  sink->moment(moment(2, std::numeric_limits<double>::quiet_NaN()));
  wait();
  sink->moment(moment(3, 2));
  EXPECT_THAT(shown().back(), testing::HasSubstr("loss 2.0000"));
}

}  // namespace
}  // namespace lowmem::metrics
