// The device's softmax over slices of a vocabulary and its gradient against the CPU's.
#include "lowmem/kernels/cross_entropy.h"

#include <limits>

#include "emulation/support.h"

namespace lowmem::kernels {
namespace {

using test::Numbers;

constexpr int64_t kRows = 5;

class EmulatedCrossEntropy : public testing::TestWithParam<DType> {};

// What is known of rows, from nothing.
struct Known {
  Known()
      : largest(kRows, DType::kF32),
        sum(kRows, DType::kF32),
        label_logit(kRows, DType::kF32),
        factor(kRows, DType::kF32) {
    for (int64_t row = 0; row < kRows; ++row)
      largest.set(row, -std::numeric_limits<float>::infinity());
  }
  SoftmaxRows rows() {
    return {largest.as<float>(), sum.as<float>(), label_logit.as<float>(),
            factor.as<float>()};
  }
  std::string bytes() const {
    return largest.bytes() + sum.bytes() + label_logit.bytes() + factor.bytes();
  }

  Numbers largest, sum, label_logit, factor;
};

// Two slices, one after the other.
struct Problem {
  Problem(int64_t width, int64_t shift, DType dtype)
      : columns(width),
        labels{width - 1, 2 * width - 1, 0, 3 * width, width},
        first(kRows * width, dtype, shift, 1, -9, 9),
        second(kRows * width, dtype, shift, 2, -9, 12) {}

  template <class Kernel>
  void take(bool exponentials, const Kernel& kernel) {
    kernel(LogitSlice{first.array(), columns, 0, labels}, known.rows(), exponentials);
    kernel(LogitSlice{second.array(), columns, columns, labels}, known.rows(),
           exponentials);
  }

  int64_t columns;
  int64_t labels[kRows];
  Numbers first, second;
  Known known;
};

TEST_P(EmulatedCrossEntropy, SlicesAreTakenAsOnTheCpu) {
  for (const int64_t columns : test::lengths())
    for (const bool exponentials : {false, true})
      for (const int64_t shift : test::kShifts) {
        SCOPED_TRACE(columns);
        Problem want(columns, shift, GetParam());
        want.take(exponentials,
                  [](const LogitSlice& slice, const SoftmaxRows& rows, bool write) {
                    softmax_slice(slice, rows, write, 0, kRows);
                  });
        test::for_all_launches([&] {
          Problem problem(columns, shift, GetParam());
          problem.take(exponentials,
                       [](const LogitSlice& slice, const SoftmaxRows& rows, bool write) {
                         emulated::softmax_slice(slice, rows, write, kRows, nullptr);
                       });
          // All but the sum is without rounding that an order could change.
          EXPECT_EQ(problem.known.largest.bytes(), want.known.largest.bytes());
          EXPECT_EQ(problem.known.label_logit.bytes(), want.known.label_logit.bytes());
          EXPECT_EQ(problem.known.factor.bytes(), want.known.factor.bytes());
          EXPECT_TRUE(problem.first.bytes() == want.first.bytes());
          EXPECT_TRUE(problem.second.bytes() == want.second.bytes());
          test::expect_near(problem.known.sum, want.known.sum, DType::kF32, 3);
          return problem.known.bytes() + problem.first.bytes() + problem.second.bytes();
        });
      }
}

TEST_P(EmulatedCrossEntropy, GradientGivesTheBitsOfTheCpu) {
  const Numbers log_sum_exp(kRows, DType::kF32, 0, 3, 9, 13);
  const auto* sums = static_cast<const float*>(log_sum_exp.read_only().data);
  for (const int64_t columns : test::lengths())
    for (const int64_t shift : test::kShifts) {
      Problem want(columns, shift, GetParam());
      cross_entropy_gradient({want.second.array(), columns, columns, want.labels}, sums,
                             0.3f, 0, kRows);
      const std::string got = test::for_all_launches([&] {
        Problem problem(columns, shift, GetParam());
        emulated::cross_entropy_gradient(
            {problem.second.array(), columns, columns, problem.labels}, sums, 0.3f, kRows,
            nullptr);
        return problem.second.bytes();
      });
      EXPECT_TRUE(got == want.second.bytes()) << columns;
    }
}

TEST_P(EmulatedCrossEntropy, NanLogitsMakeTheSumNan) {
  Problem problem(40, 0, GetParam());
  problem.first.set(50, std::nanf(""));
  emulated::softmax_slice({problem.first.array(), 40, 0, problem.labels},
                          problem.known.rows(), false, kRows, nullptr);
  EXPECT_FALSE(std::isnan(problem.known.sum.at(0)));
  EXPECT_TRUE(std::isnan(problem.known.sum.at(1)));
}

INSTANTIATE_TEST_SUITE_P(Kernels, EmulatedCrossEntropy, testing::ValuesIn(test::kTypes),
                         test::name_of_type);

}  // namespace
}  // namespace lowmem::kernels
