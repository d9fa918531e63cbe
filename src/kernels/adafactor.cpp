#include "lowmem/kernels/adafactor.h"

namespace lowmem::kernels {
namespace {

// Calls f(weights row, gradient row, first element's index) for each of rows [begin,
// end).
template <class F>
void for_rows(const AdafactorArgs& a, int64_t begin, int64_t end, F&& f) {
  with_type(a.weights, [&](auto* weights) {
    with_type(a.gradient, [&](const auto* gradient) {
      for (int64_t row = begin; row < end; ++row)
        f(row, weights, gradient + row * a.columns);
    });
  });
}

float root_of_row(const AdafactorArgs& a, int64_t row) {
  return a.row_root == nullptr ? 1.0f : a.row_root[row];
}

}  // namespace

void adafactor_statistics(const AdafactorArgs& a, int64_t begin, int64_t end,
                          double* row_sums, double* weight_sums, float* column_sums) {
  for_rows(a, begin, end, [&](int64_t row, auto* weights, const auto* gradient) {
    double gradient_sum = 0, weight_sum = 0;
    for (int64_t i = 0; i < a.columns; ++i) {
      const float g = a.scale * to_float(gradient[i]);
      const float p = to_float(weights[row * a.columns + i]);
      column_sums[i] += g * g;
      gradient_sum += static_cast<double>(g * g);
      weight_sum += static_cast<double>(p * p);
    }
    row_sums[row] = gradient_sum;
    weight_sums[row] = weight_sum;
  });
}

void adafactor_update_norm(const AdafactorArgs& a, int64_t begin, int64_t end,
                           double* sums) {
  for_rows(a, begin, end, [&](int64_t row, auto*, const auto* gradient) {
    const float root = root_of_row(a, row);
    double sum = 0;
    for (int64_t i = 0; i < a.columns; ++i) {
      const float g = a.scale * to_float(gradient[i]);
      const float u = g / (root * a.column_root[i] + a.eps);
      sum += static_cast<double>(u * u);
    }
    sums[row] = sum;
  });
}

void adafactor_write(const AdafactorArgs& a, float factor, int64_t begin, int64_t end) {
  Store store(a.rounding, a.noise);
  for_rows(a, begin, end, [&](int64_t row, auto* weights, const auto* gradient) {
    const float root = root_of_row(a, row);
    for (int64_t i = 0; i < a.columns; ++i) {
      const float g = a.scale * to_float(gradient[i]);
      const float u = g / (root * a.column_root[i] + a.eps);
      const int64_t element = row * a.columns + i;
      store(weights, element, to_float(weights[element]) - factor * u);
    }
  });
}

}  // namespace lowmem::kernels
