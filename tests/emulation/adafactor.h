#pragma once

// What tests of Adafactor on the device share.

#include "emulation/optimizers.h"
#include "lowmem/kernels/adafactor.h"

namespace lowmem::kernels::test {

// A parameter with its gradient and averages.
struct AdafactorProblem {
  struct Shape {
    int64_t rows, columns, shift;  // elements off a multiple of 16 bytes
  };
  static constexpr double kRate = 0.25;

  AdafactorProblem(const Shape& shape, DType dtype, Rounding rounding,
                   DType gradient_type, bool matrix)
      : rows(shape.rows),
        columns(shape.columns),
        parameter(rows * columns, dtype, shape.shift, rounding),
        gradient(rows * columns, gradient_type, shape.shift, 2),
        row(rows, DType::kF32, 0, 3, 0.5f, 2),
        column(columns, DType::kF32, 0, 4, 0.5f, 2),
        row_root(rows, DType::kF32, 0, 5, 0.5f, 2),
        column_root(columns, DType::kF32, shape.shift, 6, 0.5f, 2),
        row_sums(static_cast<size_t>(rows), -1),
        weight_sums(static_cast<size_t>(rows), -1),
        column_sums(columns, DType::kF32),
        args{.weights = parameter.weights,
             .gradient = gradient.read_only(),
             .rows = rows,
             .columns = columns,
             .scale = 0.7f,
             .eps = 0,
             .row_root = matrix ? row_root.as<float>() : nullptr,
             .column_root = column_root.as<float>()},
        averages{.rate = kRate,
                 .row = matrix ? row.as<float>() : nullptr,
                 .column = column.as<float>(),
                 .row_root = matrix ? row_root.as<float>() : nullptr,
                 .column_root = column_root.as<float>(),
                 .squared_norm = &squared_norm,
                 .squared_weight_norm = &squared_weight_norm} {}
  AdafactorProblem(const AdafactorProblem&) = delete;
  AdafactorProblem& operator=(const AdafactorProblem&) = delete;

  void take_statistics(const Pending& pending = {}) {
    const int64_t bytes = emulated::adafactor_workspace(rows, columns);
    Numbers workspace(bytes / 4, DType::kF32);
    each_part([&](int64_t begin, int64_t end) {
      emulated::adafactor_statistics(args, begin, end, pending, row_sums.data(),
                                     weight_sums.data(), column_sums.as<float>(),
                                     workspace.as<void>(), nullptr);
    });
    workspace.bytes();
  }
  void make_up_statistics() {
    Random random(7);
    for (double& x : row_sums) x = random.uniform();
    for (double& x : weight_sums) x = random.uniform();
    for (int64_t i = 0; i < columns; ++i) column_sums.set(i, random.uniform());
  }
  // The gradient's own squared norm decides.
  void move_averages() { move_averages({.squared_norm = &squared_norm}); }
  void move_averages(const Pending& pending) {
    emulated::adafactor_averages(args, averages, row_sums.data(), weight_sums.data(),
                                 column_sums.as<float>(), pending, nullptr);
  }
  // All passes before the last one; returns the factor.
  float prepare(const Pending& pending, double lr) {
    take_statistics(pending);
    move_averages(pending);
    each_part([&](int64_t begin, int64_t end) {
      emulated::adafactor_update_norm(args, begin, end, pending, row_sums.data(),
                                      nullptr);
    });
    float factor = 0;
    emulated::adafactor_factor(rows, row_sums.data(), &squared_weight_norm,
                               /*least_norm=*/0, lr, pending, &factor, nullptr);
    return factor;
  }
  void update(const Pending& pending, double lr) {
    const float factor = prepare(pending, lr);
    each_part([&](int64_t begin, int64_t end) {
      emulated::adafactor_write(args, &factor, begin, end, pending, nullptr, nullptr);
    });
  }
  std::string averaged() const {
    return row.bytes() + column.bytes() + row_root.bytes() + column_root.bytes();
  }

  // Rows that come at a time.
  template <class F>
  void each_part(F f) const {
    const int64_t step = together == 0 ? rows : together;
    for (int64_t at = 0; at < rows; at += step) f(at, std::min(rows, at + step));
  }

  int64_t rows, columns;
  int64_t together = 0;  // rows; 0: all
  Parameter parameter;
  Numbers gradient, row, column, row_root, column_root;
  std::vector<double> row_sums, weight_sums;
  Numbers column_sums;
  double squared_norm = 0, squared_weight_norm = -1;
  AdafactorArgs args;
  emulated::AdafactorAverages averages;
};

}  // namespace lowmem::kernels::test
