// How updated weights and states are stored: through the kernels that do it, against the
// scalar rules of elements.h.
#include <cmath>

#include "kernels/support.h"
#include "lowmem/kernels/adam.h"
#include "lowmem/kernels/sgd.h"

namespace lowmem::kernels {
namespace {

using test::Numbers;

constexpr Noise kNoise{.seed = 0xfedcba9876543210, .step = 0x80000003, .parameter = 41};

// Every instruction set of this machine.
class Stored : public testing::TestWithParam<Isa> {
 protected:
  const test::WithIsa chosen_{GetParam()};
};

// sgd() that stores `values` exactly as they are before rounding: from weights of 0, by a
// gradient of -values, at a rate of 1.
Numbers stored(const std::vector<float>& values, Rounding rounding) {
  const auto count = static_cast<int64_t>(values.size());
  Numbers weights(count, DType::kBF16), gradient(count, DType::kF32);
  for (int64_t i = 0; i < count; ++i) gradient.set(i, -values[static_cast<size_t>(i)]);
  sgd({.weights = test::weights_of(weights, rounding, kNoise),
       .gradient = gradient.read_only(),
       .lr = 1},
      0, count);
  return weights;
}

float of_bits(uint32_t bits) { return std::bit_cast<float>(bits); }
uint32_t bits_of(float x) { return std::bit_cast<uint32_t>(x); }

TEST_P(Stored, NoiseIsThatOfTheScalarRuleInEveryBit) {
  constexpr uint32_t kUpper = 0x3f80;
  for (const int64_t count : {1, 15, 63, 64, 65, 511, 512, 513, 70001}) {
    // A remainder of 65536 - noise is the smallest that is carried over.
    std::vector<float> carried, kept;
    Noise::Block block;
    for (int64_t i = 0; i < count; ++i) {
      const uint32_t noise = kNoise.at(i, block);
      carried.push_back(of_bits((kUpper << 16) + (0x10000 - noise)));
      kept.push_back(of_bits((kUpper << 16) + (0xffff - noise)));
    }
    const Numbers up = stored(carried, Rounding::kStochastic);
    const Numbers down = stored(kept, Rounding::kStochastic);
    int64_t wrong = 0;
    for (int64_t i = 0; i < count; ++i)
      wrong +=
          bits_of(up.at(i)) >> 16 != kUpper + 1 || bits_of(down.at(i)) >> 16 != kUpper;
    EXPECT_EQ(wrong, 0) << count;
  }
}

TEST_P(Stored, EveryUpperHalfIsRoundedLikeTheScalarRules) {
  std::vector<float> values;
  for (uint32_t upper = 0; upper < 0x10000; ++upper)
    for (const uint32_t lower : {0x1u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu})
      values.push_back(of_bits(upper << 16 | lower));
  const Numbers nearest = stored(values, Rounding::kNearest);
  const Numbers stochastic = stored(values, Rounding::kStochastic);
  int64_t wrong = 0;
  Noise::Block block;
  for (size_t i = 0; i < values.size(); ++i) {
    const auto element = static_cast<int64_t>(i);
    const float to_nearest = to_float(round_to_nearest(values[i]));
    const float noisy =
        to_float(round_stochastically(values[i], kNoise.at(element, block)));
    if (std::isnan(values[i]))
      wrong += !std::isnan(nearest.at(element)) || !std::isnan(stochastic.at(element));
    else
      wrong += bits_of(nearest.at(element)) != bits_of(to_nearest) ||
               bits_of(stochastic.at(element)) != bits_of(noisy);
  }
  EXPECT_EQ(wrong, 0);
}

TEST_P(Stored, AMillionWeightsHaveTheMeanAndVarianceOfTheTheory) {
  constexpr int64_t kDraws = 1'000'000;
  constexpr double kUnit = 0x1p-7;  // between bf16 numbers in [1, 2)
  for (const double share : {0.03, 0.5, 0.875}) {
    const float x = static_cast<float>(1.5 + share * kUnit);
    const Numbers weights = stored(std::vector<float>(kDraws, x), Rounding::kStochastic);
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < kDraws; ++i) {
      const double error = weights.at(i) - static_cast<double>(x);
      sum += error;
      squares += error * error;
    }
    const double variance = share * (1 - share) * kUnit * kUnit;
    EXPECT_NEAR(sum / kDraws, 0, 5 * std::sqrt(variance / kDraws)) << share;
    const double deviation =
        std::abs(1 - 2 * share) * kUnit * std::sqrt(variance / kDraws);
    EXPECT_NEAR(squares / kDraws, variance, 5 * deviation + 1e-9 * variance) << share;
  }
}

TEST_P(Stored, BfloatAveragesOfAdamAreRoundedByNoiseOfTheirOwn) {
  constexpr int64_t kCount = 1000;
  const Noise mean_noise{1, 2, 3}, square_noise{1, 2, 4};
  const Numbers gradient(kCount, DType::kF32, 9);
  Numbers weights(kCount, DType::kF32), mean(kCount, DType::kBF16),
      square(kCount, DType::kBF16);
  AdamArgs args{.weights = test::weights_of(weights, Rounding::kNearest),
                .gradient = gradient.read_only(),
                .mean = {mean.array().data, DType::kBF16, mean_noise},
                .mean_square = {square.array().data, DType::kBF16, square_noise},
                .mean_rate = 0.3f,
                .square_rate = 0.7f,
                .eps = 1,
                .step_size = 1};
  adam(args, 0, kCount);
  Noise::Block one, two;
  for (int64_t i = 0; i < kCount; ++i) {
    const float g = gradient.at(i);
    ASSERT_EQ(mean.at(i),
              to_float(round_stochastically(0.3f * g, mean_noise.at(i, one))));
    ASSERT_EQ(square.at(i),
              to_float(round_stochastically(0.7f * g * g, square_noise.at(i, two))));
  }
}

// Weights of one sgd() rule, updated again and again.
struct Training {
  Numbers weights, compensation;
  SgdArgs args;

  Training(const Numbers& start, Rounding rounding)
      : weights(start), compensation(start.count(), DType::kBF16) {
    args.weights = test::weights_of(weights, rounding);
    args.weights.compensation = compensation.as<Bf16>();
    args.lr = 1;
  }
  Training(const Training&) = delete;
  Training& operator=(const Training&) = delete;

  void update(const Numbers& gradient) {
    args.gradient = gradient.read_only();
    sgd(args, 0, weights.count());
  }
};

TEST_P(Stored, KahanAddsUpTenThousandUpdatesThatNearestLoses) {
  constexpr int64_t kCount = 83, kUpdates = 10'000;
  Numbers start(kCount, DType::kBF16);
  for (int64_t i = 0; i < kCount; ++i) start.set(i, i % 2 == 0 ? 1 : -1);
  Training kahan(start, Rounding::kKahan), nearest(start, Rounding::kNearest);
  std::vector<double> exact;
  for (int64_t i = 0; i < kCount; ++i) exact.push_back(start.at(i));
  for (int64_t update = 0; update < kUpdates; ++update) {
    // Away from 0, each less than a tenth of half a unit.
    Numbers gradient(kCount, DType::kF32, static_cast<uint64_t>(update), -1.4e-4f, 0);
    for (int64_t i = 1; i < kCount; i += 2) gradient.set(i, -gradient.at(i));
    kahan.update(gradient);
    nearest.update(gradient);
    for (int64_t i = 0; i < kCount; ++i) exact[static_cast<size_t>(i)] -= gradient.at(i);
  }
  EXPECT_EQ(nearest.weights.bytes(), start.bytes());
  for (int64_t i = 0; i < kCount; ++i) {
    const double want = exact[static_cast<size_t>(i)];
    const double unit = std::exp2(std::floor(std::log2(std::abs(want))) - 7);
    EXPECT_GT(std::abs(want), 1.6);
    EXPECT_NEAR(kahan.weights.at(i), want, unit) << i;
    // With what it remembers it is nearer still.
    EXPECT_NEAR(kahan.weights.at(i) + kahan.compensation.at(i), want, unit / 4) << i;
  }
}

TEST_P(Stored, TheReportCountsWhatRoundingToNearestWouldHaveLost) {
  for (const int64_t count : test::lengths())
    for (const Rounding rounding :
         {Rounding::kNearest, Rounding::kStochastic, Rounding::kKahan}) {
      const Numbers start(count, DType::kBF16, 1);
      Numbers gradient(count, DType::kF32, 2);
      for (int64_t i = 0; i < count; i += 5) gradient.set(i, 0);
      Training silent(start, rounding), reported(start, rounding);
      silent.args.lr = reported.args.lr = 0.003f;
      reported.args.weights.report = true;
      RoundingReport want;
      for (int64_t i = 0; i < count; ++i) {
        const float value = start.at(i) - 0.003f * gradient.at(i);
        if (value == start.at(i)) continue;
        ++want.updates;
        want.lost += to_float(round_to_nearest(value)) == start.at(i);
      }
      silent.update(gradient);
      reported.args.gradient = gradient.read_only();
      const RoundingReport got = sgd(reported.args, 0, count);
      EXPECT_EQ(got.updates, want.updates) << count;
      EXPECT_EQ(got.lost, want.lost) << count;
      if (count >= 63) {
        EXPECT_GT(want.lost, 0);
        EXPECT_GT(want.updates, want.lost);
      }
      EXPECT_EQ(silent.weights.bytes(), reported.weights.bytes());
      EXPECT_EQ(silent.compensation.bytes(), reported.compensation.bytes());
    }
}

INSTANTIATE_TEST_SUITE_P(Rounding, Stored, testing::ValuesIn(test::isas()),
                         [](const auto& given) {
                           return std::string(isa_name(given.param));
                         });

}  // namespace
}  // namespace lowmem::kernels
