#include "lowmem/core/random.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <vector>

namespace lowmem {
namespace {

using Block = std::array<uint32_t, 4>;

// The vectors "philox4x32 10" of Random123 1.14, tests/kat_vectors: counter words, key
// words, result.
TEST(Philox, GivesThePublishedKnownAnswers) {
  EXPECT_EQ(philox(0, 0, 0), (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox(~0ull, ~0ull, ~0ull),
            (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox(0x299f31d0'a4093822, 0x85a308d3'243f6a88, 0x03707344'13198a2e),
            (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Random, ReadsTheStreamOfItsSeedWordByWord) {
  Random random(/*seed=*/7, /*stream=*/9);
  for (uint64_t counter : {0, 1, 2})
    for (uint32_t word : philox(7, counter, 9)) EXPECT_EQ(random.next(), word);
}

TEST(Random, ACopyContinuesWithTheSameNumbers) {
  Random first(1);
  first.next();
  Random second = first;
  for (int i = 0; i < 10; ++i) EXPECT_EQ(first.next(), second.next());
}

TEST(Random, SeedsAndStreamsDiffer) {
  std::set<uint32_t> firsts;
  for (uint64_t seed : {0, 1, 2})
    for (uint64_t stream : {0, 1, 2}) firsts.insert(Random(seed, stream).next());
  EXPECT_EQ(firsts.size(), 9u);
}

// Pearson's statistic against the uniform distribution is near its number of degrees of
// freedom, with a standard deviation of sqrt(2 of them).
double chi_squared(const std::vector<int>& counts) {
  double total = 0, sum = 0;
  for (int count : counts) total += count;
  const double expected = total / static_cast<double>(counts.size());
  for (int count : counts) sum += (count - expected) * (count - expected) / expected;
  return sum;
}

TEST(Random, BelowIsUniform) {
  for (uint32_t bound : {2u, 3u, 10u, 1000u}) {
    Random random(42, bound);
    std::vector<int> counts(bound);
    for (int i = 0; i < 200'000; ++i) {
      const uint32_t value = random.below(bound);
      ASSERT_LT(value, bound);
      ++counts[value];
    }
    const double freedom = bound - 1;
    EXPECT_LT(chi_squared(counts), freedom + 5 * std::sqrt(2 * freedom)) << bound;
  }
}

// Scaling 32 bits without rejection would give the multiples of three 2 of 4 draws.
TEST(Random, BelowIsUniformWhereScalingAloneIsNot) {
  Random random(42);
  std::vector<int> counts(3);
  for (int i = 0; i < 60'000; ++i) ++counts[random.below(3u << 30) % 3];
  EXPECT_LT(chi_squared(counts), 2 + 5 * 2.0);
}

TEST(Random, BelowOneIsZero) {
  Random random(42);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(random.below(1), 0u);
}

TEST(Random, UniformCoversTheUnitIntervalEvenly) {
  Random random(42);
  std::vector<int> counts(64);
  for (int i = 0; i < 200'000; ++i) {
    const float value = random.uniform();
    ASSERT_GE(value, 0.0f);
    ASSERT_LT(value, 1.0f);
    ++counts[static_cast<size_t>(value * 64)];
  }
  EXPECT_LT(chi_squared(counts), 63 + 5 * std::sqrt(2 * 63.0));
}

}  // namespace
}  // namespace lowmem
