#include "lowmem/kernels/adafactor.h"

#include "weight_writer.h"

namespace lowmem::kernels {
namespace LOWMEM_ISA {
namespace {

float root_of_row(const AdafactorArgs& a, int64_t row) {
  return a.row_root == nullptr ? 1.0f : a.row_root[row];
}

}  // namespace

void adafactor_statistics(const AdafactorArgs& a, int64_t begin, int64_t end,
                          double* row_sums, double* weight_sums, float* column_sums) {
  const auto rows = [&](const auto* weights, const auto* gradient) {
    for (int64_t row = begin; row < end; ++row) {
      const auto* p = weights + row * a.columns;
      const auto* g = gradient + row * a.columns;
      BlockSum gradient_sum, weight_sum;
      for_lanes(0, a.columns, [&](int64_t i, auto lanes) {
        const Float16 x = a.scale * load(g + i, lanes), y = load(p + i, lanes);
        const Float16 square = x * x;
        store(column_sums + i, load(column_sums + i, lanes) + square, lanes);
        gradient_sum.add(square);
        weight_sum.add(y * y);
      });
      row_sums[row] = gradient_sum.total();
      weight_sums[row] = weight_sum.total();
    }
  };
  with_type(a.gradient, [&](const auto* gradient) {
    with_mutable_type(a.weights, [&](const auto* weights) { rows(weights, gradient); });
  });
}

void adafactor_update_norm(const AdafactorArgs& a, int64_t begin, int64_t end,
                           double* sums) {
  with_type(a.gradient, [&](const auto* gradient) {
    for (int64_t row = begin; row < end; ++row) {
      const auto* g = gradient + row * a.columns;
      const float root = root_of_row(a, row);
      BlockSum sum;
      for_lanes(0, a.columns, [&](int64_t i, auto lanes) {
        const Float16 x = a.scale * load(g + i, lanes);
        const Float16 denominator = root * load(a.column_root + i, lanes) + a.eps;
        const Float16 u = only(x / denominator, lanes);
        sum.add(u * u);
      });
      sums[row] = sum.total();
    }
  });
}

RoundingReport adafactor_write(const AdafactorArgs& a, float factor, int64_t begin,
                               int64_t end) {
  return with_type(a.gradient, [&](const auto* gradient) {
    return with_mutable_type(a.weights, [&](const auto* weights) {
      return with_writer(a.weights, [&](auto& writer) {
        for (int64_t row = begin; row < end; ++row) {
          const float root = root_of_row(a, row);
          const int64_t start = row * a.columns;
          for_pieces(start, start + a.columns, [&](int64_t first, int64_t last) {
            writer.begin_piece(first, last);
            for_lanes(first, last, [&](int64_t i, auto lanes) {
              const Float16 x = a.scale * load(gradient + i, lanes);
              const Float16 denominator =
                  root * load(a.column_root + (i - start), lanes) + a.eps;
              const Float16 p = load(weights + i, lanes);
              writer.write(i, p, p - factor * (x / denominator), lanes);
            });
          });
        }
      });
    });
  });
}

}  // namespace LOWMEM_ISA

LOWMEM_DISPATCH(void, adafactor_statistics,
                (const AdafactorArgs& args, int64_t begin, int64_t end, double* row_sums,
                 double* weight_sums, float* column_sums),
                (args, begin, end, row_sums, weight_sums, column_sums))
LOWMEM_DISPATCH(void, adafactor_update_norm,
                (const AdafactorArgs& args, int64_t begin, int64_t end, double* sums),
                (args, begin, end, sums))
LOWMEM_DISPATCH(RoundingReport, adafactor_write,
                (const AdafactorArgs& args, float factor, int64_t begin, int64_t end),
                (args, factor, begin, end))

}  // namespace lowmem::kernels
