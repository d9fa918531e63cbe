// Adafactor's three passes and the squared norm against their formulas in double.
#include "lowmem/kernels/adafactor.h"

#include <cmath>

#include "kernels/support.h"
#include "lowmem/kernels/norm.h"

namespace lowmem::kernels {
namespace {

using test::Numbers;

struct Shape {
  int64_t rows, columns;
};
constexpr Shape kShapes[] = {{1, 1},  {4, 1},   {1, 5},   {3, 15},  {5, 16},   {3, 17},
                             {7, 37}, {2, 513}, {16, 63}, {1, 511}, {2, 1000}, {1, 4097}};

class Adafactor : public testing::TestWithParam<std::tuple<Isa, DType>> {
 protected:
  const test::WithIsa chosen_{std::get<Isa>(GetParam())};
  const DType dtype_ = std::get<DType>(GetParam());
};

// A matrix, its gradient and the roots of their averages, none of them 0.
struct Problem {
  static constexpr float kScale = 0.7f;

  Problem(Shape shape, DType dtype)
      : weights(shape.rows * shape.columns, dtype, 1),
        gradient(shape.rows * shape.columns, dtype, 2),
        row_root(shape.rows, DType::kF32, 3, 0.5f, 2),
        column_root(shape.columns, DType::kF32, 4, 0.5f, 2) {
    args.weights = test::weights_of(weights, Rounding::kNearest);
    args.gradient = gradient.read_only();
    args.rows = shape.rows;
    args.columns = shape.columns;
    args.scale = kScale;
    args.eps = 0;  // so that lanes not in use hold 0 / 0
    args.row_root = row_root.as<float>();
    args.column_root = column_root.as<float>();
  }
  Problem(const Problem&) = delete;
  Problem& operator=(const Problem&) = delete;

  double scaled(int64_t i) const { return double{kScale} * gradient.at(i); }
  double u(int64_t i) const {
    const double row = args.row_root == nullptr ? 1 : row_root.at(i / args.columns);
    return scaled(i) / (row * column_root.at(i % args.columns));
  }

  Numbers weights, gradient, row_root, column_root;
  AdafactorArgs args;
};

double relative(double got, double want) { return std::abs(got - want) / std::abs(want); }

TEST_P(Adafactor, StatisticsAreSumsOfSquares) {
  for (const Shape shape : kShapes) {
    Problem problem(shape, dtype_);
    std::vector<double> rows(static_cast<size_t>(shape.rows), -1), weights = rows;
    Numbers columns(shape.columns, DType::kF32);
    for (int64_t i = 0; i < shape.columns; ++i) columns.set(i, 1);  // is added to
    adafactor_statistics(problem.args, 0, shape.rows, rows.data(), weights.data(),
                         columns.as<float>());
    std::vector<double> want_columns(static_cast<size_t>(shape.columns), 1);
    for (int64_t row = 0; row < shape.rows; ++row) {
      double squares = 0, weight_squares = 0;
      for (int64_t column = 0; column < shape.columns; ++column) {
        const int64_t i = row * shape.columns + column;
        const double square = problem.scaled(i) * problem.scaled(i);
        squares += square;
        want_columns[static_cast<size_t>(column)] += square;
        weight_squares += double{problem.weights.at(i)} * problem.weights.at(i);
      }
      EXPECT_LE(relative(rows[static_cast<size_t>(row)], squares), 3e-7);
      EXPECT_LE(relative(weights[static_cast<size_t>(row)], weight_squares), 1e-7);
    }
    for (int64_t i = 0; i < shape.columns; ++i)
      EXPECT_LE(relative(columns.at(i), want_columns[static_cast<size_t>(i)]), 1e-6);
    EXPECT_TRUE(columns.guards_are_whole());
  }
}

TEST_P(Adafactor, UpdateNormIsThatOfTheFormulaWithoutEps) {
  for (const Shape shape : kShapes)
    for (const bool matrix : {true, false}) {
      Problem problem(shape, dtype_);
      if (!matrix) problem.args.row_root = nullptr;
      std::vector<double> sums(static_cast<size_t>(shape.rows), -1);
      adafactor_update_norm(problem.args, 0, shape.rows, sums.data());
      for (int64_t row = 0; row < shape.rows; ++row) {
        double want = 0;
        for (int64_t i = row * shape.columns; i < (row + 1) * shape.columns; ++i)
          want += problem.u(i) * problem.u(i);
        EXPECT_LE(relative(sums[static_cast<size_t>(row)], want), 6e-7)
            << shape.rows << " x " << shape.columns;
      }
    }
}

TEST_P(Adafactor, WritesTheFormulasWeightsWithoutEps) {
  for (const Shape shape : kShapes)
    for (const bool matrix : {true, false}) {
      Problem problem(shape, dtype_);
      if (!matrix) problem.args.row_root = nullptr;
      const Numbers start = problem.weights;
      adafactor_write(problem.args, 0.125f, 0, shape.rows);
      EXPECT_TRUE(problem.weights.guards_are_whole());
      for (int64_t i = 0; i < start.count(); ++i) {
        const double want = start.at(i) - 0.125 * problem.u(i);
        ASSERT_NEAR(problem.weights.at(i), want,
                    dtype_ == DType::kF32 ? 2e-7 : std::abs(want) / 250 + 1e-7)
            << shape.rows << " x " << shape.columns << ", " << i;
      }
    }
}

TEST_P(Adafactor, EpsIsAddedToTheDenominator) {
  Problem problem({3, 17}, dtype_);
  problem.args.eps = 0.5f;
  std::vector<double> sums(3);
  adafactor_update_norm(problem.args, 0, 3, sums.data());
  double want = 0;
  for (int64_t i = 0; i < 17; ++i) {
    const double root = double{problem.row_root.at(0)} * problem.column_root.at(i);
    want += std::pow(problem.scaled(i) / (root + 0.5), 2);
  }
  EXPECT_LE(relative(sums[0], want), 6e-7);
}

TEST_P(Adafactor, SquaredNormSumsAnyRange) {
  for (const int64_t count : test::lengths()) {
    const Numbers numbers(count, dtype_, 1);
    for (const int64_t begin : {int64_t{0}, count / 3, count - 1, count}) {
      double want = 0;
      for (int64_t i = begin; i < count; ++i)
        want += double{numbers.at(i)} * numbers.at(i);
      EXPECT_NEAR(squared_norm(numbers.read_only(), begin, count), want, 1e-7 * want);
    }
  }
}

TEST_P(Adafactor, SquaredNormOfAnythingNotFiniteIsNotFinite) {
  for (const int64_t count : test::lengths())
    for (const float bad : {std::nanf(""), HUGE_VALF, -HUGE_VALF})
      for (const int64_t place : {int64_t{0}, count / 2, count - 1}) {
        Numbers numbers(count, dtype_, 1);
        numbers.set(place, bad);
        EXPECT_FALSE(std::isfinite(squared_norm(numbers.read_only(), 0, count)));
      }
}

INSTANTIATE_TEST_SUITE_P(Kernels, Adafactor,
                         testing::Combine(testing::ValuesIn(test::isas()),
                                          testing::Values(DType::kF32, DType::kBF16)),
                         [](const auto& given) {
                           return std::string(isa_name(std::get<Isa>(given.param))) +
                                  (std::get<DType>(given.param) == DType::kF32 ? "Fp32"
                                                                               : "Bf16");
                         });

}  // namespace
}  // namespace lowmem::kernels
