// What bf16 weights and bf16 averages do over many updates.
#include <cmath>

#include "lowmem/kernels/elements.h"
#include "optim/support.h"

namespace lowmem::optim {
namespace {

using weights::Weight;

using test::config_of, test::normal, test::relative_difference, test::slot_of;

OptimizerConfig with_rounding(const char* name, RoundingMode rounding) {
  OptimizerConfig config = config_of(name);
  config.rounding = rounding;
  return config;
}

class Rounded : public testing::TestWithParam<const char*> {};

TEST_P(Rounded, KahanFollowsFp32WhereNearestStandsStill) {
  constexpr int64_t kUpdates = 2000;
  const double lr = std::string(GetParam()) == "sgd" ? 1e-5 : 1e-4;  // momentum: 10 times
  for (const std::vector<int64_t>& shape : {std::vector<int64_t>{5, 7}, {35}}) {
    const at::Tensor ones = at::ones(shape);
    Weight exact = slot_of(ones), kahan = slot_of(ones.to(at::kBFloat16)),
           nearest = slot_of(ones.to(at::kBFloat16));
    auto with_kahan = test::rule(with_rounding(GetParam(), RoundingMode::kKahan), 1);
    auto with_nearest = test::rule(with_rounding(GetParam(), RoundingMode::kNearest), 1);
    for (int64_t i = 0; i < kUpdates; ++i) {
      // Upwards, by less than half a unit.
      const at::Tensor gradient =
          -1 - 0.2 * normal(shape, static_cast<uint64_t>(i)).clamp(-2, 2);
      with_nearest->update(exact, gradient, {i, lr, 1});
      with_kahan->update(kahan, gradient, {i, lr, 1});
      with_nearest->update(nearest, gradient, {i, lr, 1});
    }
    EXPECT_TRUE(nearest.here.eq(1).all().item<bool>());
    EXPECT_GT(exact.here.min().item<float>(), 1.1f);
    constexpr double kUnit = 0x1p-7;
    EXPECT_LE((kahan.here - exact.here).abs().max().item<double>(), kUnit);
    EXPECT_EQ(kahan.beside.at("compensation").scalar_type(), at::kBFloat16);
  }
}

TEST_P(Rounded, OnlyKahansBfloatWeightsHaveACompensation) {
  for (const RoundingMode rounding : test::kRoundings)
    for (const auto dtype : {at::kFloat, at::kBFloat16}) {
      Weight slot = slot_of(normal({5, 7}, 1, dtype));
      test::rule(with_rounding(GetParam(), rounding), 1)
          ->update(slot, normal({5, 7}, 2), {0, 0.01, 1});
      EXPECT_EQ(slot.beside.contains("compensation"),
                rounding == RoundingMode::kKahan && dtype == at::kBFloat16);
    }
}

TEST_P(Rounded, TheReportChangesNothing) {
  for (const RoundingMode rounding : test::kRoundings)
    for (const auto dtype : {at::kFloat, at::kBFloat16}) {
      auto optimizer = test::rule(with_rounding(GetParam(), rounding), 1);
      const at::Tensor start = normal({35, 1001}, 1, dtype);
      Weight silent = slot_of(start), reported = slot_of(start);
      for (int64_t i = 0; i < 3; ++i) {
        const at::Tensor gradient = normal({35, 1001}, 2);
        const UpdateResult a = optimizer->update(silent, gradient, {i, 0.003, 1, false});
        const UpdateResult b = optimizer->update(reported, gradient, {i, 0.003, 1, true});
        EXPECT_EQ(a.squared_norm, b.squared_norm);
        EXPECT_EQ(a.rounding.updates, 0);
        EXPECT_EQ(b.rounding.updates > 0, dtype == at::kBFloat16);
      }
      test::expect_same(silent, reported);
    }
}

TEST_P(Rounded, TheReportCountsWhatNearestLoses) {
  const at::Tensor start = normal({35, 1001}, 1, at::kBFloat16);
  at::Tensor gradient = normal({35, 1001}, 2);
  gradient[3].fill_(0);
  Weight exact = slot_of(start.to(at::kFloat));
  test::rule(config_of(GetParam()), 1)->update(exact, gradient, {0, 0.003, 1});
  const at::Tensor moved = exact.here.ne(start.to(at::kFloat));
  const at::Tensor stuck = exact.here.to(at::kBFloat16).eq(start);
  const int64_t lost = moved.logical_and(stuck).sum().item<int64_t>();
  EXPECT_GT(lost, 1000);
  for (const RoundingMode rounding : test::kRoundings) {
    Weight slot = slot_of(start);
    const UpdateResult result = test::rule(with_rounding(GetParam(), rounding), 1)
                                    ->update(slot, gradient, {0, 0.003, 1, true});
    EXPECT_EQ(result.rounding.updates, moved.sum().item<int64_t>());
    EXPECT_EQ(result.rounding.lost, lost);
    if (rounding != RoundingMode::kNearest) continue;
    EXPECT_EQ(slot.here.eq(start).logical_and(moved).sum().item<int64_t>(), lost);
  }
}

INSTANTIATE_TEST_SUITE_P(Optimizers, Rounded, testing::ValuesIn(test::kRules),
                         [](const auto& given) { return std::string(given.param); });

class BfloatState : public testing::TestWithParam<const char*> {};

TEST_P(BfloatState, AveragesStayThoseOfFp32OnAverage) {
  constexpr int64_t kElements = 4096, kUpdates = 1000;
  OptimizerConfig config = config_of(GetParam());
  config.weight_decay = 0;
  auto fp32 = test::rule(config, 1);
  config.state_dtype = StateType::kBF16;
  auto bf16 = test::rule(config, 1);
  const at::Tensor start = at::zeros({kElements});
  Weight exact = slot_of(start), rounded = slot_of(start);
  for (int64_t i = 0; i < kUpdates; ++i) {
    // The same for all elements, so that their mean tells the rounding's.
    const at::Tensor gradient =
        at::full({kElements}, 1 + 0.5 * std::sin(static_cast<double>(i)));
    fp32->update(exact, gradient, {i, 1e-3, 1});
    bf16->update(rounded, gradient, {i, 1e-3, 1});
  }
  // An element's error in standard deviation is at most half a unit an update, over those
  // that the average remembers. To nearest, the mean square, which moves by a thousandth,
  // would not get past a half of this.
  for (const auto& [name, remembered] :
       {std::pair{"exp_avg", 1 / (1 - 0.9 * 0.9)}, {"exp_avg_sq", double{kUpdates}}}) {
    const at::Tensor& got = rounded.beside.at(name);
    EXPECT_EQ(got.scalar_type(), at::kBFloat16);
    const double want = exact.beside.at(name).to(at::kDouble).mean().item<double>();
    const double unit = std::exp2(std::floor(std::log2(want)) - 7);
    const double deviation = unit / 2 * std::sqrt(remembered / kElements);
    EXPECT_NEAR(got.to(at::kDouble).mean().item<double>(), want, 5 * deviation) << name;
    EXPECT_GT(got.to(at::kDouble).std().item<double>(), 0) << name;
  }
  // Weights go as far, but for what a noisy denominator adds to the mean of a quotient.
  EXPECT_NEAR((rounded.here.mean() / exact.here.mean()).item<double>(), 1, 0.01);
}

TEST_P(BfloatState, IsAFunctionOfSeedStepAndParameter) {
  OptimizerConfig config = config_of(GetParam());
  config.state_dtype = StateType::kBF16;
  const auto after = [&](uint64_t seed, int64_t step, uint32_t index) {
    Weight slot = slot_of(at::zeros({1000}), index);
    test::rule(config, seed)->update(slot, normal({1000}, 2), {step, 1e-3, 1});
    return slot.beside;
  };
  const auto first = after(5, 0, 3);
  for (const char* name : {"exp_avg", "exp_avg_sq"}) {
    EXPECT_TRUE(at::equal(after(5, 0, 3).at(name), first.at(name)));
    EXPECT_FALSE(at::equal(after(6, 0, 3).at(name), first.at(name)));
    EXPECT_FALSE(at::equal(after(5, 1, 3).at(name), first.at(name)));
    EXPECT_FALSE(at::equal(after(5, 0, 4).at(name), first.at(name)));
  }
}

INSTANTIATE_TEST_SUITE_P(Adam, BfloatState, testing::Values("adam", "adamw"),
                         [](const auto& given) { return std::string(given.param); });

}  // namespace
}  // namespace lowmem::optim
