// The exponential of the vector loops, through the kernels that use it, against double.
#include <cmath>
#include <limits>

#include "kernels/support.h"
#include "lowmem/kernels/cross_entropy.h"
#include "lowmem/kernels/swiglu.h"

namespace lowmem::kernels {
namespace {

using test::Numbers;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// One row's softmax over slices of the vocabulary.
struct Row {
  float largest = -kInfinity, sum = 0, label_logit = 0, factor = 0;

  void take(Numbers& logits, int64_t first, int64_t label, bool exponentials) {
    softmax_slice({logits.array(), logits.count(), first, &label},
                  {&largest, &sum, &label_logit, &factor}, exponentials, 0, 1);
  }
  double log_sum_exp() const { return largest + std::log(static_cast<double>(sum)); }
};

double exact_log_sum_exp(const std::vector<const Numbers*>& slices) {
  double largest = -std::numeric_limits<double>::infinity(), sum = 0;
  for (const Numbers* slice : slices)
    for (int64_t i = 0; i < slice->count(); ++i)
      largest = std::max<double>(largest, slice->at(i));
  for (const Numbers* slice : slices)
    for (int64_t i = 0; i < slice->count(); ++i) sum += std::exp(slice->at(i) - largest);
  return largest + std::log(sum);
}

class Exponential : public testing::TestWithParam<Isa> {
 protected:
  const test::WithIsa chosen_{GetParam()};
};

TEST_P(Exponential, IsRightToTwoUnitsOverTheWholeRangeOfSoftmax) {
  constexpr int64_t kCount = 200'001;
  Numbers logits(kCount, DType::kF32, 1, -87.2f, 0);
  logits.set(0, 0);  // the largest, so that the others are exponents themselves
  std::vector<double> want;
  for (int64_t i = 0; i < kCount; ++i) want.push_back(std::exp(double{logits.at(i)}));
  Row row;
  row.take(logits, 0, 0, true);
  double worst = 0;
  for (int64_t i = 0; i < kCount; ++i)
    worst = std::max(worst, std::abs(logits.at(i) / want[static_cast<size_t>(i)] - 1));
  EXPECT_LE(worst, 2 * 0x1p-23);
}

TEST_P(Exponential, FarBelowTheLargestLogitNothingIsLeft) {
  for (const float top : {0.0f, 100.0f, -100.0f, 1e30f, -1e30f}) {
    Numbers logits(7, DType::kF32);
    const float below[] = {88, 100, 1e4f, 1e30f, 3e38f};
    for (int64_t i = 0; i < 5; ++i) logits.set(i, std::max(-3e38f, top - below[i]));
    logits.set(5, top);
    logits.set(6, -kInfinity);
    // 1e30 less 100 is 1e30: as large as the largest.
    std::vector<double> want;
    for (int64_t i = 0; i < 7; ++i) want.push_back(std::exp(double{logits.at(i)} - top));
    Row row;
    row.take(logits, 0, 5, true);
    for (int64_t i = 0; i < 7; ++i)
      EXPECT_NEAR(logits.at(i), want[static_cast<size_t>(i)], 1.2e-38)
          << top << ", " << i;
    EXPECT_EQ(row.largest, top);
    EXPECT_EQ(row.label_logit, top);
    EXPECT_TRUE(std::isfinite(row.sum));
  }
}

TEST_P(Exponential, LogSumExpOfSlicesIsThatOfTheWhole) {
  for (const int64_t columns : test::lengths())
    for (const DType dtype : {DType::kF32, DType::kBF16})
      for (const float spread : {1.0f, 100.0f, 1e30f}) {
        Numbers first(columns, dtype, 1, -spread, spread);
        Numbers second(columns, dtype, 2, -spread, spread);
        const double want = exact_log_sum_exp({&first, &second});
        const float label_logit = second.at(columns / 2);
        Row row;
        const int64_t label = columns + columns / 2;
        row.take(first, 0, label, false);
        const float before = row.largest;
        row.take(second, columns, label, false);
        EXPECT_NEAR(row.log_sum_exp(), want, 1e-6 + 1e-7 * std::abs(want));
        EXPECT_EQ(row.label_logit, label_logit);
        EXPECT_NEAR(row.factor, std::exp(double{before} - row.largest), 1e-6);
      }
}

TEST_P(Exponential, ALogitThatIsNotFiniteMakesTheRowsLossNotFinite) {
  for (const int64_t columns : test::lengths())
    for (const DType dtype : {DType::kF32, DType::kBF16})
      for (const float bad : {kNan, -kNan, kInfinity})
        for (const int64_t place : {int64_t{0}, columns / 2, columns - 1})
          for (const bool late : {false, true}) {
            Numbers first(columns, dtype, 1), second(columns, dtype, 2);
            (late ? second : first).set(place, bad);
            Row row;
            row.take(first, 0, 0, true);
            row.take(second, columns, 0, true);
            EXPECT_FALSE(std::isfinite(row.log_sum_exp())) << columns << ", " << place;
          }
  // Another class's row in the same matrix is not touched by it.
  Numbers logits(2 * 17, DType::kF32, 1);
  logits.set(3, kNan);
  const int64_t labels[] = {0, 0};
  float rows[4][2] = {{-kInfinity, -kInfinity}, {}, {}, {}};
  softmax_slice({logits.array(), 17, 0, labels}, {rows[0], rows[1], rows[2], rows[3]},
                false, 0, 2);
  EXPECT_TRUE(std::isnan(rows[1][0]));
  EXPECT_TRUE(std::isfinite(rows[1][1]));
}

TEST_P(Exponential, CrossEntropysGradientIsSoftmaxLessTheLabel) {
  for (const int64_t columns : test::lengths())
    for (const DType dtype : {DType::kF32, DType::kBF16})
      for (const int64_t label : {int64_t{0}, columns - 1, columns, int64_t{-1}}) {
        Numbers logits(columns, dtype, 1, -20, 20);
        const double total = exact_log_sum_exp({&logits}) + 0.1;  // of more classes
        std::vector<double> want;
        for (int64_t i = 0; i < columns; ++i)
          want.push_back(0.3 * (std::exp(logits.at(i) - total) - (i == label ? 1 : 0)));
        const int64_t at = 1000 + label;
        const float log_sum_exp = static_cast<float>(total);
        cross_entropy_gradient({logits.array(), columns, 1000, &at}, &log_sum_exp, 0.3f,
                               0, 1);
        for (int64_t i = 0; i < columns; ++i)
          ASSERT_NEAR(logits.at(i), want[static_cast<size_t>(i)],
                      dtype == DType::kF32 ? 1e-6 : 2e-3)
              << columns << ", " << i;
      }
}

// silu(gate) * up of single numbers, and its gradients for an output's gradient of 1.
struct Swiglu {
  float y, dgate, dup, again;

  Swiglu(float gate, float up) {
    Numbers g(1, DType::kF32), u(1, DType::kF32), out(1, DType::kF32);
    g.set(0, gate);
    u.set(0, up);
    out.set(0, 1);
    const SwigluArgs args{g.array(), u.array(), 1, 0, 1};
    swiglu_backward(args, out.array(), 0, 1);
    dgate = g.at(0), dup = u.at(0), again = out.at(0);
    g.set(0, gate);
    u.set(0, up);
    swiglu(args, out.array(), 1, 0, 1);
    y = out.at(0);
  }
};

TEST_P(Exponential, SwigluIsRightToAFewUnitsFromMinusToPlusEighty) {
  double worst = 0, worst_gradient = 0;
  for (float gate = -80; gate <= 80; gate += 0.0137f) {
    const Swiglu got(gate, 1.5f);
    const double s = 1 / (1 + std::exp(-double{gate}));
    worst = std::max(worst, std::abs(got.y / (gate * s * 1.5) - 1));
    worst = std::max(worst, std::abs(got.dup / (gate * s) - 1));
    // 1 + gate (1 - s) passes 0: its error counts by what it was made of.
    const double slope = 1.5 * s * (1 + gate * (1 - s));
    worst_gradient =
        std::max(worst_gradient, std::abs(got.dgate - slope) /
                                     (1.5 * s * (1 + std::abs(gate) * (1 - s))));
    ASSERT_EQ(got.again, got.y);
  }
  EXPECT_LE(worst, 5e-7);
  EXPECT_LE(worst_gradient, 1.2e-6);  // 1 - s has lost digits where s is near 1
}

TEST_P(Exponential, SwigluOfHugeGatesIsItsLimit) {
  for (const float gate : {100.0f, 1e4f, 1e30f, 3e38f}) {
    const Swiglu above(gate, 0.5f), below(-gate, 0.5f);
    EXPECT_EQ(above.y, 0.5f * gate);
    EXPECT_EQ(above.dup, gate);
    EXPECT_EQ(above.dgate, 0.5f);
    EXPECT_NEAR(below.y, 0, 1e-35) << gate;
    EXPECT_NEAR(below.dup, 0, 1e-35) << gate;
    EXPECT_NEAR(below.dgate, 0, 1e-35) << gate;
  }
}

TEST_P(Exponential, SwigluKeepsWhatIsNotFinite) {
  for (const auto& [gate, up] : {std::pair{kNan, 1.0f},
                                 {1.0f, kNan},
                                 {kInfinity, 1.0f},
                                 {1.0f, kInfinity},
                                 {1.0f, -kInfinity}}) {
    const Swiglu got(gate, up);
    EXPECT_FALSE(std::isfinite(got.y)) << gate << ", " << up;
    EXPECT_FALSE(std::isfinite(got.again)) << gate << ", " << up;
  }
}

INSTANTIATE_TEST_SUITE_P(Kernels, Exponential, testing::ValuesIn(test::isas()),
                         [](const auto& given) {
                           return std::string(isa_name(given.param));
                         });

}  // namespace
}  // namespace lowmem::kernels
