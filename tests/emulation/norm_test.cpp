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
    return norm_in_parts(numbers, numbers.count(), start);
  }
  // So many elements at a time, that are there alone.
  static double norm_in_parts(const Numbers& numbers, int64_t together, double start) {
    const int64_t count = numbers.count(), all = emulated::norm_pieces(count);
    double sum = start;
    std::vector<double> pieces(static_cast<size_t>(all), -1);
    for (int64_t at = 0; at < count; at += together)
      emulated::squared_norms(numbers.read_only(), at, std::min(count, at + together),
                              pieces.data(), nullptr);
    emulated::add_squared_norms(pieces.data(), all, &sum, nullptr);
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

TEST_P(EmulatedNorm, DoesNotDependOnHowElementsCome) {
  constexpr int64_t kCount = 9 * emulated::kNormPiece + 11;
  const Numbers numbers(kCount, GetParam(), 0, 1);
  const double want = norm_of(numbers);
  EXPECT_NEAR(want, squared_norm(numbers.read_only(), 0, kCount), 1e-12 * want);
  for (const int64_t pieces : {1, 2, 4})
    EXPECT_EQ(norm_in_parts(numbers, pieces * emulated::kNormPiece, 0), want);
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
