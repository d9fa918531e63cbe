// Adafactor's passes on the device against the CPU's.
#include "emulation/adafactor.h"

#include <cfloat>
#include <cmath>
#include <limits>

namespace lowmem::kernels {
namespace {

using test::Numbers, test::Parameter;

using Problem = test::AdafactorProblem;
using Shape = Problem::Shape;

constexpr Shape kShapes[] = {{1, 1, 0},    {4, 1, 0},    {1, 5, 3},    {5, 8, 0},
                             {9, 16, 3},   {70, 24, 0},  {7, 37, 0},   {2, 513, 3},
                             {3, 2048, 0}, {2, 4107, 0}, {1, 4096, 3}, {300, 9, 0}};

// Types of weights and of their gradient.
class EmulatedAdafactor : public testing::TestWithParam<std::tuple<DType, DType>> {
 protected:
  const DType dtype_ = std::get<0>(GetParam()), gradient_type_ = std::get<1>(GetParam());
  const Rounding rounding_ = Rounding::kNearest;
};
// And how weights are rounded.
class EmulatedAdafactorWrite
    : public testing::TestWithParam<std::tuple<DType, Rounding, DType>> {
 protected:
  const DType dtype_ = std::get<0>(GetParam()), gradient_type_ = std::get<2>(GetParam());
  const Rounding rounding_ = std::get<1>(GetParam());
};

std::string bytes_of(const std::vector<double>& numbers) {
  return {reinterpret_cast<const char*>(numbers.data()), numbers.size() * 8};
}

void expect_near(const std::vector<double>& got, const std::vector<double>& want) {
  for (size_t i = 0; i < want.size(); ++i)
    ASSERT_NEAR(got[i], want[i], 5e-7 * want[i]) << i;
}

TEST_P(EmulatedAdafactor, StatisticsAreThoseOfTheCpu) {
  for (const Shape& shape : kShapes) {
    SCOPED_TRACE(std::to_string(shape.rows) + " x " + std::to_string(shape.columns));
    Problem want(shape, dtype_, rounding_, gradient_type_, true);
    adafactor_statistics(want.args, 0, shape.rows, want.row_sums.data(),
                         want.weight_sums.data(), want.column_sums.as<float>());
    test::for_all_launches([&] {
      Problem problem(shape, dtype_, rounding_, gradient_type_, true);
      problem.take_statistics();
      expect_near(problem.row_sums, want.row_sums);
      expect_near(problem.weight_sums, want.weight_sums);
      for (int64_t i = 0; i < shape.columns; ++i)
        EXPECT_NEAR(problem.column_sums.at(i), want.column_sums.at(i),
                    2e-6 * want.column_sums.at(i));
      return bytes_of(problem.row_sums) + bytes_of(problem.weight_sums) +
             problem.column_sums.bytes();
    });
  }
}

// Groups of 33 rows, of which 32 fit in shared memory at once, by two warps.
TEST(EmulatedAdafactorRows, GroupsMayBeLongerThanABatch) {
  const Shape shape{33 * 249 - 1, 264, 0};
  const auto make = [&] {
    return std::make_unique<Problem>(shape, DType::kBF16, Rounding::kNearest,
                                     DType::kBF16, true);
  };
  const auto want = make();
  adafactor_statistics(want->args, 0, shape.rows, want->row_sums.data(),
                       want->weight_sums.data(), want->column_sums.as<float>());
  // The last warp is ahead: without a barrier it would overwrite what the first one
  // reads.
  const emulation::WithSettings order({.backwards = true});
  const auto problem = make();
  problem->take_statistics();
  expect_near(problem->row_sums, want->row_sums);
  expect_near(problem->weight_sums, want->weight_sums);
  for (int64_t i = 0; i < shape.columns; ++i)
    EXPECT_NEAR(problem->column_sums.at(i), want->column_sums.at(i),
                1e-5 * want->column_sums.at(i));
}

TEST_P(EmulatedAdafactor, AveragesFollowTheirFormulas) {
  for (const Shape& shape : kShapes)
    for (const bool matrix : {true, false}) {
      if (!matrix && shape.rows > 1) continue;
      const Problem before(shape, dtype_, rounding_, gradient_type_, matrix);
      test::for_all_launches([&] {
        Problem problem(shape, dtype_, rounding_, gradient_type_, matrix);
        problem.make_up_statistics();
        problem.move_averages();
        constexpr double kRate = Problem::kRate;
        double squared = 0, weights = 0, mean = 0;
        for (size_t i = 0; i < problem.row_sums.size(); ++i) {
          squared += problem.row_sums[i];
          weights += problem.weight_sums[i];
        }
        EXPECT_NEAR(problem.squared_norm, squared, 1e-14 * squared);
        EXPECT_NEAR(problem.squared_weight_norm, weights, 1e-14 * weights);
        for (int64_t i = 0; i < shape.columns; ++i) {
          const double average =
              (1 - kRate) * before.column.at(i) +
              kRate * problem.column_sums.at(i) / static_cast<double>(shape.rows);
          EXPECT_NEAR(problem.column.at(i), average, 3e-7 * average);
          EXPECT_EQ(problem.column_root.at(i), std::sqrt(problem.column.at(i)));
        }
        for (int64_t i = 0; i < shape.rows; ++i) mean += problem.row.at(i);
        mean /= static_cast<double>(shape.rows);
        for (int64_t i = 0; i < shape.rows && matrix; ++i) {
          const auto average =
              static_cast<float>((1 - kRate) * before.row.at(i) +
                                 kRate * problem.row_sums[static_cast<size_t>(i)] /
                                     static_cast<double>(shape.columns));
          EXPECT_EQ(problem.row.at(i), average);
          const double root = std::sqrt(average / mean);
          EXPECT_NEAR(problem.row_root.at(i), root, 1e-7 * root);
        }
        return problem.averaged();
      });
    }
}

TEST_P(EmulatedAdafactor, AveragesStayWhereTheGradientIsNotFinite) {
  for (const bool matrix : {true, false}) {
    Problem problem({1, 40, 0}, dtype_, rounding_, gradient_type_, matrix);
    const std::string before = problem.averaged();
    problem.gradient.set(17, std::numeric_limits<float>::infinity());
    problem.take_statistics();
    problem.move_averages();
    EXPECT_EQ(problem.averaged(), before);
    EXPECT_FALSE(std::isfinite(problem.squared_norm));
  }
}

TEST_P(EmulatedAdafactor, SquaredNormIsAddedToWhatDecides) {
  for (const bool matrix : {true, false})
    for (const double start : {7.0, std::numeric_limits<double>::quiet_NaN(),
                               double{FLT_MAX} - 4e37, double{FLT_MAX} - 1e36}) {
      SCOPED_TRACE(start);
      Problem problem({1, 40, 0}, dtype_, rounding_, gradient_type_, matrix);
      problem.make_up_statistics();
      problem.row_sums[0] = start < 1e30 ? 5 : 2e37;
      const std::string before = problem.averaged();
      problem.squared_norm = start;
      problem.squared_weight_norm = -1;
      // Without a barrier the last warp would decide before the first thread adds.
      const emulation::WithSettings order({.backwards = true});
      problem.move_averages();
      EXPECT_EQ(test::bytes_of(problem.squared_norm),
                test::bytes_of(start + problem.row_sums[0]));
      EXPECT_EQ(problem.averaged() != before,
                start + problem.row_sums[0] <= double{FLT_MAX});
      EXPECT_EQ(problem.squared_weight_norm, problem.weight_sums[0]);
    }
}

TEST_P(EmulatedAdafactor, SquaredNormOfAllGradientsDecidesInPlaceOfItsOwn) {
  for (const bool matrix : {true, false})
    for (const double all : {3.0, 1e39, std::numeric_limits<double>::quiet_NaN()})
      for (const bool wanted : {false, true}) {
        SCOPED_TRACE(all);
        Problem problem({matrix ? 3 : 1, 40, 0}, dtype_, rounding_, gradient_type_,
                        matrix);
        problem.make_up_statistics();
        const std::string before = problem.averaged();
        if (!wanted) problem.averages.squared_norm = nullptr;
        problem.move_averages({.squared_norm = &all});
        EXPECT_EQ(problem.averaged() != before, all == 3);
        EXPECT_EQ(problem.squared_norm > 0, wanted);
      }
}

TEST_P(EmulatedAdafactor, RowsOfNothingHaveNoRoot) {
  Problem problem({3, 8, 0}, dtype_, rounding_, gradient_type_, true);
  problem.averages.rate = 1;
  for (int64_t i = 0; i < 24; ++i) problem.gradient.set(i, 0);
  problem.take_statistics();
  problem.move_averages();
  for (int64_t i = 0; i < 3; ++i) EXPECT_EQ(problem.row_root.at(i), 0);
}

TEST_P(EmulatedAdafactor, UpdateNormIsThatOfTheCpu) {
  for (const Shape& shape : kShapes)
    for (const bool matrix : {true, false}) {
      Problem want(shape, dtype_, rounding_, gradient_type_, matrix);
      adafactor_update_norm(want.args, 0, shape.rows, want.row_sums.data());
      test::for_all_launches([&] {
        Problem problem(shape, dtype_, rounding_, gradient_type_, matrix);
        emulated::adafactor_update_norm(problem.args, 0, shape.rows, {},
                                        problem.row_sums.data(), nullptr);
        expect_near(problem.row_sums, want.row_sums);
        return bytes_of(problem.row_sums);
      });
    }
}

TEST_P(EmulatedAdafactor, FactorIsThatOfItsFormula) {
  for (const int64_t rows : {1, 31, 1000, 2049}) {
    std::vector<double> sums(static_cast<size_t>(rows), 0.25);
    const double squared = 9;
    float factor = 0;
    const auto want = [&](double lr, double norm) {
      return static_cast<float>(lr * norm / std::sqrt(0.25 * static_cast<double>(rows)));
    };
    const auto take = [&](double least_norm, const Pending& pending) {
      emulated::adafactor_factor(rows, sums.data(), &squared, least_norm, 0.125, pending,
                                 &factor, nullptr);
      return factor;
    };
    EXPECT_FLOAT_EQ(take(0, {}), want(0.125, 3));
    EXPECT_FLOAT_EQ(take(2.5, {}), want(0.125, 3));
    EXPECT_FLOAT_EQ(take(5, {}), want(0.125, 5));
    const StepNumbers step{.lr = 0.3};
    EXPECT_FLOAT_EQ(take(0, {.step = &step}), want(0.3, 3));
  }
}

TEST_P(EmulatedAdafactorWrite, WeightsHaveTheBitsOfTheCpu) {
  const float factor = 0.01f;
  for (const Shape& shape : kShapes)
    for (const bool matrix : {true, false}) {
      SCOPED_TRACE(std::to_string(shape.rows) + " x " + std::to_string(shape.columns));
      Problem want(shape, dtype_, rounding_, gradient_type_, matrix);
      const RoundingReport counted = adafactor_write(want.args, factor, 0, shape.rows);
      const std::string got = test::for_all_launches([&] {
        Problem problem(shape, dtype_, rounding_, gradient_type_, matrix);
        RoundingReport report;
        const double norm = 1;
        emulated::adafactor_write(problem.args, &factor, 0, shape.rows,
                                  {.squared_norm = &norm}, &report, nullptr);
        return problem.parameter.bytes() + test::bytes_of(report);
      });
      EXPECT_TRUE(got == want.parameter.bytes() + test::bytes_of(counted));
    }
}

// Groups of eight rows, which parts cut anywhere, and rows of one tile and of two.
TEST_P(EmulatedAdafactorWrite, DoesNotDependOnHowRowsCome) {
  for (const Shape& shape : {Shape{29, 40, 0}, Shape{19, 2056, 0}}) {
    const auto run = [&](int64_t together) {
      Problem problem(shape, dtype_, rounding_, gradient_type_, true);
      problem.together = together;
      problem.update({.squared_norm = &problem.squared_norm}, 0.1);
      return problem.parameter.bytes() + problem.averaged() +
             problem.column_sums.bytes() + test::bytes_of(problem.squared_norm);
    };
    const std::string whole = run(shape.rows);
    for (const int64_t together : {1, 3, 8, 13}) EXPECT_TRUE(run(together) == whole);
  }
}

TEST_P(EmulatedAdafactorWrite, NothingIsWrittenWhereTheSquaredNormIsBeyondFp32) {
  for (const double norm : {std::numeric_limits<double>::quiet_NaN(), 1e39}) {
    Problem problem({3, 40, 0}, dtype_, rounding_, gradient_type_, true);
    const std::string before = problem.parameter.bytes();
    const float factor = 0.01f;
    emulated::adafactor_write(problem.args, &factor, 0, 3, {.squared_norm = &norm},
                              nullptr, nullptr);
    EXPECT_TRUE(problem.parameter.bytes() == before);
  }
}

TEST_P(EmulatedAdafactorWrite, UpdateWhoseSquaredNormStartsAtNanWritesNothing) {
  for (const bool matrix : {true, false})
    for (const bool lost : {false, true}) {
      Problem problem({matrix ? 3 : 1, 40, 0}, dtype_, rounding_, gradient_type_, matrix);
      const std::string before = problem.parameter.bytes() + problem.averaged();
      if (lost) problem.squared_norm = std::numeric_limits<double>::quiet_NaN();
      problem.update({.squared_norm = &problem.squared_norm}, 0.1);
      EXPECT_EQ(problem.parameter.bytes() + problem.averaged() == before, lost);
      EXPECT_EQ(std::isnan(problem.squared_norm), lost);
    }
}

INSTANTIATE_TEST_SUITE_P(Kernels, EmulatedAdafactor,
                         testing::Combine(testing::ValuesIn(test::kTypes),
                                          testing::ValuesIn(test::kTypes)),
                         [](const auto& given) {
                           return test::type_name(std::get<0>(given.param)) + "From" +
                                  test::type_name(std::get<1>(given.param));
                         });
INSTANTIATE_TEST_SUITE_P(Kernels, EmulatedAdafactorWrite, test::every_parameter(),
                         test::name_of_parameter);

}  // namespace
}  // namespace lowmem::kernels
