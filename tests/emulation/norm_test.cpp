// The device's squared norm against the CPU's.
#include "lowmem/kernels/norm.h"

#include <cmath>
#include <limits>

#include "emulation/support.h"

namespace lowmem::kernels {
namespace {

using test::Numbers;

class EmulatedNorm : public testing::TestWithParam<DType> {
 protected:
  // Added to `start`.
  static double norm_of(const Numbers& numbers, double start = 0) {
    double sum = start;
    std::vector<double> workspace(emulated::kSquaredNormWorkspace);
    emulated::squared_norm(numbers.read_only(), numbers.count(), &sum, workspace.data(),
                           nullptr);
    return sum;
  }
};

TEST_P(EmulatedNorm, IsThatOfTheCpu) {
  for (const int64_t count : test::lengths())
    for (const int64_t shift : test::kShifts) {
      const Numbers numbers(count, GetParam(), shift, 1);
      const double want = squared_norm(numbers.read_only(), 0, count);
      test::for_all_launches([&] {
        const double got = norm_of(numbers);
        EXPECT_NEAR(got, want, 1e-14 * want) << count;
        return test::bytes_of(got);
      });
      EXPECT_EQ(norm_of(numbers, 100), 100 + norm_of(numbers));
    }
}

TEST_P(EmulatedNorm, PiecesGrowWithTheCount) {
  constexpr int64_t kCount = 1024 * 2048 + 9;  // one more eight than blocks of one turn
  const Numbers numbers(kCount, GetParam(), 0, 1);
  const double want = squared_norm(numbers.read_only(), 0, kCount);
  EXPECT_NEAR(norm_of(numbers), want, 1e-12 * want);
}

TEST_P(EmulatedNorm, AddsNothingForNoElements) {
  EXPECT_EQ(norm_of(Numbers(0, GetParam()), 7), 7);
}

TEST_P(EmulatedNorm, IsFiniteExactlyAsLongAsAllElementsAre) {
  for (const int64_t count : {1, 33, 2055}) {
    Numbers numbers(count, GetParam(), 0, 1, -1e38f, 1e38f);
    EXPECT_TRUE(std::isfinite(norm_of(numbers)));
    for (const float bad : {std::nanf(""), HUGE_VALF, -HUGE_VALF})
      for (const int64_t place : {int64_t{0}, count / 2, count - 1}) {
        const float before = numbers.at(place);
        numbers.set(place, bad);
        EXPECT_FALSE(std::isfinite(norm_of(numbers)));
        numbers.set(place, before);
      }
  }
}

INSTANTIATE_TEST_SUITE_P(Kernels, EmulatedNorm, testing::ValuesIn(test::kTypes),
                         test::name_of_type);

}  // namespace
}  // namespace lowmem::kernels
