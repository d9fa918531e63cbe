#include "lowmem/metrics/svg_scale.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace lowmem::metrics {
namespace {

using testing::DoubleNear, testing::ElementsAre, testing::Pointwise;

constexpr double kGap = std::numeric_limits<double>::quiet_NaN();

TEST(LinearScale, EndsOnRoundTicks) {
  const Scale scale = linear_scale(0.3, 4.2);
  EXPECT_THAT(scale.ticks, ElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_EQ(scale.low, 0);
  EXPECT_EQ(scale.high, 5);
}

TEST(LinearScale, KeepsAValueOnATickAtTheEdge) {
  EXPECT_THAT(linear_scale(0, 100).ticks, ElementsAre(0, 20, 40, 60, 80, 100));
  EXPECT_THAT(linear_scale(0, 0.3).ticks,
              Pointwise(DoubleNear(1e-12), {0.0, 0.1, 0.2, 0.3}));
}

TEST(LinearScale, HoldsEveryRangeWithFewTicks) {
  for (const double low : {-1e9, -3.7, 0.0, 1e-7, 5.0, 99.5, 1e12})
    for (const double width : {1e-6, 0.013, 0.9, 1.0, 7.0, 149.0, 1e5}) {
      const Scale scale = linear_scale(low, low + width);
      EXPECT_LE(scale.ticks.size(), 6u) << low << " " << width;
      EXPECT_GE(scale.ticks.size(), 2u) << low << " " << width;
      EXPECT_LE(scale.low, low + 1e-9 * width);
      EXPECT_GE(scale.high, low + width - 1e-9 * width);
      EXPECT_TRUE(std::is_sorted(scale.ticks.begin(), scale.ticks.end()));
    }
}

TEST(LinearScale, OfOneValueHasRoomAroundIt) {
  for (const double value : {0.0, 2.0, -5.0, 1e-9}) {
    const Scale scale = linear_scale(value, value);
    EXPECT_LT(scale.low, scale.high) << value;
    EXPECT_GE(value, scale.low);
    EXPECT_LE(value, scale.high);
  }
}

TEST(LogScale, HasTicksAtOneTwoAndFive) {
  EXPECT_THAT(log_scale(0.55, 7.1).ticks,
              Pointwise(DoubleNear(1e-12), {0.5, 1.0, 2.0, 5.0, 10.0}));
  EXPECT_THAT(log_scale(1, 10).ticks,
              Pointwise(DoubleNear(1e-12), {1.0, 2.0, 5.0, 10.0}));
}

TEST(LogScale, HasPowersOfTenAloneOverManyDecades) {
  const Scale scale = log_scale(3e-4, 2e3);
  EXPECT_LE(scale.ticks.size(), 9u);
  for (const double tick : scale.ticks) {
    const double power = std::log10(tick);
    EXPECT_NEAR(power, std::round(power), 1e-9);
  }
  EXPECT_LE(scale.low, 3e-4);
  EXPECT_GE(scale.high, 2e3);
}

TEST(Scale, PutsItsEndsAtZeroAndOne) {
  const Scale linear = linear_scale(2, 8), log = log_scale(0.1, 1000);
  for (const Scale& scale : {linear, log}) {
    EXPECT_NEAR(scale.position(scale.low), 0, 1e-12);
    EXPECT_NEAR(scale.position(scale.high), 1, 1e-12);
  }
  EXPECT_NEAR(log.position(10), 0.5, 1e-9);
}

TEST(TickLabel, IsShort) {
  EXPECT_EQ(tick_label(0), "0");
  EXPECT_EQ(tick_label(0.05), "0.05");
  EXPECT_EQ(tick_label(0.1 + 0.2), "0.3");
  EXPECT_EQ(tick_label(1.5), "1.5");
  EXPECT_EQ(tick_label(150), "150");
  EXPECT_EQ(tick_label(1500), "1500");
  EXPECT_EQ(tick_label(2000), "2k");
  EXPECT_EQ(tick_label(20000), "20k");
  EXPECT_EQ(tick_label(1.5e7), "15M");
  EXPECT_EQ(tick_label(1e-6), "1e-06");
}

TEST(Decimated, KeepsEndsPeaksAndOrder) {
  std::vector<Point> points;
  for (int i = 0; i < 100000; ++i) points.push_back({double(i), 1 + 0.1 * std::sin(i)});
  points[54321].y = 9;
  points[98765].y = -9;
  const std::vector<Point> kept = decimated(points);
  EXPECT_LE(kept.size(), 500u);
  EXPECT_GE(kept.size(), 400u);
  EXPECT_EQ(kept.front().x, 0);
  EXPECT_EQ(kept.back().x, 99999);
  const auto holds = [&](double x) {
    return std::any_of(kept.begin(), kept.end(),
                       [&](const Point& p) { return p.x == x; });
  };
  EXPECT_TRUE(holds(54321));
  EXPECT_TRUE(holds(98765));
  EXPECT_TRUE(std::is_sorted(kept.begin(), kept.end(),
                             [](const Point& a, const Point& b) { return a.x < b.x; }));
}

TEST(Decimated, LeavesFewPointsAsTheyAre) {
  const std::vector<Point> points(500, Point{1, 2});
  EXPECT_EQ(decimated(points).size(), 500u);
}

TEST(Smoothed, KeepsALineAndItsGaps) {
  std::vector<Point> points;
  for (int i = 0; i < 50; ++i) points.push_back({double(i), 3.0 * i});
  const auto line = smoothed(points, 5);
  for (int i = 0; i < 50; ++i) EXPECT_NEAR(line[size_t(i)].y, 3.0 * i, 1e-9);
  points[20].y = kGap;
  const auto broken = smoothed(points, 5);
  EXPECT_TRUE(std::isnan(broken[20].y));
  EXPECT_TRUE(std::isfinite(broken[21].y));
}

TEST(Smoothed, TakesTheMeanOfBothSides) {
  const auto means = smoothed({{0, 0}, {1, 3}, {2, 0}}, 1);
  EXPECT_EQ(means[0].y, 0);
  EXPECT_EQ(means[1].y, 1);
  EXPECT_EQ(means[2].y, 0);
}

}  // namespace
}  // namespace lowmem::metrics
