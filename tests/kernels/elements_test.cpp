#include "lowmem/kernels/elements.h"

#include <c10/util/BFloat16.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace lowmem::kernels {
namespace {

float float_of(uint32_t bits) { return std::bit_cast<float>(bits); }

TEST(Bf16, RoundsToNearestLikeLibTorchForEveryUpperHalf) {
  int64_t wrong = 0;
  // Every sign, exponent and bf16 mantissa, with remainders at and around the tie.
  for (uint32_t upper = 0; upper < 0x10000; ++upper)
    for (const uint32_t lower : {0x0u, 0x1u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) {
      const float x = float_of(upper << 16 | lower);
      const Bf16 rounded = round_to_nearest(x);
      if (std::isnan(x))
        wrong += !std::isnan(to_float(rounded));
      else
        wrong += rounded.bits != c10::BFloat16(x).x;
    }
  EXPECT_EQ(wrong, 0);
}

TEST(Bf16, TiesGoToTheEvenNeighbour) {
  EXPECT_EQ(round_to_nearest(float_of(0x3f808000)).bits, 0x3f80);
  EXPECT_EQ(round_to_nearest(float_of(0x3f818000)).bits, 0x3f82);
  EXPECT_EQ(round_to_nearest(float_of(0xbf818000)).bits, 0xbf82);
}

TEST(Bf16, ANanWithLowBitsAloneStaysANan) {
  for (const uint32_t bits : {0x7f800001u, 0xff80ffffu}) {
    EXPECT_TRUE(std::isnan(to_float(round_to_nearest(float_of(bits)))));
    EXPECT_TRUE(std::isnan(to_float(round_stochastically(float_of(bits), 0xffff))));
  }
}

TEST(StochasticRounding, GoesAwayFromZeroForAsManyNoisesAsTheRemainderSays) {
  for (const uint32_t bits : {0x3f801234u, 0xbf80fffeu, 0x00000001u, 0x0000c000u,
                              0x80458001u, 0x41ff0000u, 0x7f7e4321u}) {
    const uint32_t below = bits >> 16;
    uint32_t up = 0, elsewhere = 0;
    for (uint32_t noise = 0; noise < 0x10000; ++noise) {
      const uint32_t got =
          round_stochastically(float_of(bits), static_cast<uint16_t>(noise)).bits;
      up += got == below + 1;
      elsewhere += got != below && got != below + 1;
    }
    EXPECT_EQ(up, bits & 0xffff) << std::hex << bits;
    EXPECT_EQ(elsewhere, 0u) << std::hex << bits;
  }
}

TEST(StochasticRounding, AMillionDrawsHaveTheMeanAndVarianceOfTheTheory) {
  constexpr int64_t kDraws = 1'000'000;
  constexpr double kUnit = 0x1p-7;  // between bf16 numbers in [1, 2)
  for (const double share : {0.03, 0.5, 0.875}) {
    const float x = static_cast<float>(-(1.5 + share * kUnit));
    const Noise noise{.seed = 7, .step = 2, .parameter = 11};
    Noise::Block block;
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < kDraws; ++i) {
      const double error =
          to_float(round_stochastically(x, noise.at(i, block))) - static_cast<double>(x);
      sum += error;
      squares += error * error;
    }
    const double variance = share * (1 - share) * kUnit * kUnit;
    EXPECT_NEAR(sum / kDraws, 0, 5 * std::sqrt(variance / kDraws)) << share;
    // The squared error takes two values, (1 - share)^2 and share^2 units.
    const double deviation =
        std::abs(1 - 2 * share) * kUnit * std::sqrt(variance / kDraws);
    EXPECT_NEAR(squares / kDraws, variance, 5 * deviation + 1e-9 * variance) << share;
  }
}

TEST(StochasticRounding, KeepsEveryNumberThatBfloatHas) {
  int64_t changed = 0;
  for (uint32_t upper = 0; upper < 0x10000; ++upper) {
    const float x = float_of(upper << 16);
    if (std::isnan(x)) continue;
    for (const uint16_t noise : {0, 1, 0x8000, 0xffff})
      changed += round_stochastically(x, noise).bits != upper;
  }
  EXPECT_EQ(changed, 0);
}

TEST(StochasticRounding, KeepsInfinities) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (const uint16_t noise : {0, 0xffff}) {
    EXPECT_EQ(to_float(round_stochastically(infinity, noise)), infinity);
    EXPECT_EQ(to_float(round_stochastically(-infinity, noise)), -infinity);
  }
}

constexpr int64_t kElements = 4096;

std::vector<uint16_t> drawn(const Noise& noise, int64_t first = 0) {
  std::vector<uint16_t> bits;
  Noise::Block block;
  for (int64_t i = first; i < first + kElements; ++i) bits.push_back(noise.at(i, block));
  return bits;
}

// How many of 4096 pairs are equal: 1 in 65536 by chance.
int64_t equal(const std::vector<uint16_t>& a, const std::vector<uint16_t>& b) {
  int64_t count = 0;
  for (size_t i = 0; i < a.size(); ++i) count += a[i] == b[i];
  return count;
}

TEST(Noise, ChangesWithSeedStepParameterAndElement) {
  const Noise noise{.seed = 42, .step = 3, .parameter = 5};
  const auto first = drawn(noise);
  EXPECT_EQ(equal(drawn(noise), first), kElements);
  EXPECT_LE(equal(drawn({43, 3, 5}), first), 3);
  EXPECT_LE(equal(drawn({42 + (uint64_t{1} << 32), 3, 5}), first), 3);
  EXPECT_LE(equal(drawn({42, 4, 5}), first), 3);
  EXPECT_LE(equal(drawn({42, 3, 6}), first), 3);
  EXPECT_LE(equal(drawn({42, 5, 3}), first), 3);
  for (const int64_t distance : {1, 2, 8, 16})
    EXPECT_LE(equal(drawn(noise, distance), first), 3) << distance;
}

TEST(Noise, AnElementsBitsDoNotDependOnTheOrderOfAsking) {
  const Noise noise{.seed = 1, .step = 2, .parameter = 3};
  const auto forward = drawn(noise);
  Noise::Block block;
  for (int64_t i = kElements; i-- > 0;)
    ASSERT_EQ(noise.at(i, block), forward[static_cast<size_t>(i)]) << i;
}

TEST(Noise, IsUniform) {
  const Noise noise{.seed = 8};
  Noise::Block block;
  double sum = 0, squares = 0;
  constexpr int64_t kDraws = 1'000'000;
  for (int64_t i = 0; i < kDraws; ++i) {
    const double x = (noise.at(i, block) + 0.5) / 65536 - 0.5;
    sum += x;
    squares += x * x;
  }
  EXPECT_NEAR(sum / kDraws, 0, 5 / std::sqrt(12.0 * kDraws));
  EXPECT_NEAR(squares / kDraws, 1.0 / 12, 5e-4);
}

}  // namespace
}  // namespace lowmem::kernels
