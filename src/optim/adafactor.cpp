#include "lowmem/kernels/adafactor.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "lowmem/ops/device.h"
#include "lowmem/ops/elements.h"
#include "optimizers.h"

namespace lowmem::optim {
namespace {

// Rows are cut into at most this many blocks, each with column sums of its own, so that
// the result is the same for any number of threads.
constexpr int64_t kBlocks = 8;

// Numbers in double, a row of the parameter each; 0 so that a rehearsal finds them
// finite.
at::Tensor row_numbers(int64_t rows) { return at::zeros({rows}, at::kDouble); }

double* doubles_of(at::Tensor& numbers) { return numbers.mutable_data_ptr<double>(); }

// In order, which at::sum does not promise.
double total(const at::Tensor& numbers) {
  const double* first = numbers.const_data_ptr<double>();
  return std::accumulate(first, first + numbers.numel(), 0.0);
}

// Sums of squares of one gradient, scaled, and of its weights.
class Statistics {
 public:
  Statistics(int64_t rows, int64_t columns)
      : rows_(row_numbers(rows)),
        weights_(row_numbers(rows)),
        block_((rows + kBlocks - 1) / kBlocks),
        columns_(at::zeros({(rows + block_ - 1) / block_, columns}, at::kFloat)) {}

  // The next rows, [begin, end).
  void add(const kernels::AdafactorArgs& args, int64_t begin, int64_t end) {
    const int64_t first = begin / block_;
    float* sums = ops::floats_of(columns_);
    ops::parallel(
        (end + block_ - 1) / block_ - first, 1, [&](int64_t begins, int64_t ends) {
          for (int64_t i = first + begins; i < first + ends; ++i)
            kernels::adafactor_statistics(
                args, std::max(begin, i * block_), std::min(end, (i + 1) * block_),
                doubles_of(rows_), doubles_of(weights_), sums + i * args.columns);
        });
  }

  const at::Tensor& rows() const { return rows_; }        // [rows] double
  at::Tensor columns() const { return columns_.sum(0); }  // [columns] fp32
  double squared_gradient() const { return total(rows_); }
  double squared_weights() const { return total(weights_); }

 private:
  at::Tensor rows_, weights_;  // [rows] double
  int64_t block_;              // rows of one
  at::Tensor columns_;         // [blocks, columns] fp32
};

// Averages of the rows' and the columns' mean squares of a matrix, or of a vector's
// squares.
constexpr const char* kRow = "row";
constexpr const char* kColumn = "col";
constexpr const char* kVector = "exp_avg_sq";

bool is_matrix(const weights::Weight& weight) { return weight.spec.shape.size() == 2; }

class Adafactor final : public Optimizer {
 public:
  using Optimizer::Optimizer;

 private:
  std::vector<weights::StateSpec> rule_states(
      const weights::Weight& weight) const override {
    const auto& shape = weight.spec.shape;
    if (!is_matrix(weight)) return {{kVector, shape}};
    return {{kRow, {shape[0]}}, {kColumn, {shape[1]}}};
  }
  // The norm that a weight is taken to have at least.
  double least_norm(const weights::Weight& weight) const {
    return numbers_.scale_floor * std::sqrt(static_cast<double>(weight.spec.elements()));
  }
  static at::Tensor& row(weights::Weight& weight) { return weight.beside.at(kRow); }
  static at::Tensor& column(weights::Weight& weight) {
    return weight.beside.at(is_matrix(weight) ? kColumn : kVector);
  }

  UpdateResult apply(weights::Weight& weight, const Passes& passes,
                     const StepInfo& step) override {
    const bool matrix = is_matrix(weight);
    const int64_t all_rows = matrix ? weight.here.size(0) : 1;
    const int64_t columns = matrix ? weight.here.size(1) : weight.here.numel();
    const int64_t grain = ops::rows_of_grain(columns);
    at::Tensor row_root, column_root;
    const auto each = [&](weights::Access access, auto&& use) {
      each_rows(weight, passes, step, access,
                [&](kernels::AdafactorArgs args, int64_t first, int64_t last) {
                  args.scale = step.grad_scale;
                  if (row_root.defined())
                    args.row_root = row_root.const_data_ptr<float>();
                  if (column_root.defined())
                    args.column_root = column_root.const_data_ptr<float>();
                  use(args, first, last);
                });
    };

    Statistics statistics(all_rows, columns);
    each(weights::Access::kRead,
         [&](const kernels::AdafactorArgs& args, int64_t first, int64_t last) {
           statistics.add(args, first, last);
         });
    // Measured scaled, reported unscaled.
    const auto scale = static_cast<double>(step.grad_scale);
    UpdateResult result{statistics.squared_gradient() / (scale * scale), {}};
    if (!result.finite()) return result;
    move_averages(weight, all_rows, columns, statistics);
    const double weight_norm =
        std::max(std::sqrt(statistics.squared_weights()), least_norm(weight));
    if (matrix) row_root = roots_of_rows(row(weight));
    column_root = column(weight).sqrt();

    at::Tensor sums = row_numbers(all_rows);
    each(weights::Access::kRead,
         [&](const kernels::AdafactorArgs& args, int64_t first, int64_t last) {
           ops::parallel(last - first, grain, [&](int64_t begin, int64_t end) {
             kernels::adafactor_update_norm(args, first + begin, first + end,
                                            doubles_of(sums));
           });
         });
    const double update_norm = std::sqrt(total(sums));
    const float factor =
        static_cast<float>(step.lr * weight_norm / (update_norm + 1e-20));
    each(weights::Access::kWrite, [&](const kernels::AdafactorArgs& args, int64_t first,
                                      int64_t last) {
      result.rounding +=
          ops::parallel_update(last - first, grain, [&](int64_t begin, int64_t end) {
            return kernels::adafactor_write(args, factor, first + begin, first + end);
          });
    });
    return result;
  }

  // Seven launches or eight where all rows are there, with nothing between them but the
  // device.
  void apply_on_device(weights::Weight& weight, const Passes& passes,
                       const DeviceUpdate& update) override {
    const bool matrix = is_matrix(weight);
    const kernels::AdafactorArgs all = args_of(weight, {}, {});
    const at::TensorOptions options = weight.here.options();
    const auto doubles = options.dtype(at::kDouble), floats = options.dtype(at::kFloat);
    at::Tensor rows = at::empty({2, all.rows}, doubles);  // of g^2, then u^2; of p^2
    at::Tensor columns = at::empty({all.columns}, floats);
    at::Tensor roots = at::empty({all.rows + all.columns}, floats);
    at::Tensor workspace =
        at::empty({kernels::cuda::adafactor_workspace(all.rows, all.columns)},
                  options.dtype(at::kByte));
    at::Tensor weight_norm = at::empty({1}, doubles), factor = at::empty({1}, floats);
    at::Tensor squared_norm = update.squared_norm;

    double* row_sums = doubles_of(rows);
    double* weight_sums = row_sums + all.rows;
    // Those of columns first: 16 bytes are read at a time.
    float* column_root = ops::floats_of(roots);
    float* row_root = matrix ? column_root + all.columns : nullptr;
    const kernels::cuda::AdafactorAverages averages{
        .rate = 1 - numbers_.beta2,
        .row = matrix ? ops::floats_of(row(weight)) : nullptr,
        .column = ops::floats_of(column(weight)),
        .row_root = row_root,
        .column_root = column_root,
        .squared_norm = update.measured ? nullptr : doubles_of(squared_norm),
        .squared_weight_norm = doubles_of(weight_norm)};
    const kernels::Pending pending = pending_of(update);
    const kernels::Stream stream = ops::stream_of(weight.here);
    const auto each = [&](weights::Access access, auto&& use) {
      each_rows(weight, passes, {}, access,
                [&](kernels::AdafactorArgs args, int64_t first, int64_t last) {
                  args.row_root = row_root;
                  args.column_root = column_root;
                  use(args, first, last);
                });
    };
    each(weights::Access::kRead,
         [&](const kernels::AdafactorArgs& args, int64_t first, int64_t last) {
           kernels::cuda::adafactor_statistics(args, first, last, pending, row_sums,
                                               weight_sums, ops::floats_of(columns),
                                               workspace.mutable_data_ptr(), stream);
         });
    kernels::cuda::adafactor_averages(all, averages, row_sums, weight_sums,
                                      ops::floats_of(columns), pending, stream);
    each(weights::Access::kRead, [&](const kernels::AdafactorArgs& args, int64_t first,
                                     int64_t last) {
      kernels::cuda::adafactor_update_norm(args, first, last, pending, row_sums, stream);
    });
    kernels::cuda::adafactor_factor(all.rows, row_sums, doubles_of(weight_norm),
                                    least_norm(weight), 0, pending,
                                    ops::floats_of(factor), stream);
    each(weights::Access::kWrite,
         [&](const kernels::AdafactorArgs& args, int64_t first, int64_t last) {
           kernels::cuda::adafactor_write(args, ops::floats_of(factor), first, last,
                                          pending, report_of(update), stream);
         });
  }

  // Calls use(args, first, last) for the rows that are there, all in order. A vector is
  // one row.
  template <class Use>
  void each_rows(weights::Weight& weight, const Passes& passes, const StepInfo& step,
                 weights::Access access, Use&& use) const {
    const int64_t columns = args_of(weight, {}, {}).columns;
    passes.each(access, [&](const Passes::Piece& piece) {
      use(args_of(weight, piece.gradient, weights_of(weight, step)),
          piece.begin / columns, piece.end / columns);
    });
  }

  // All but the gradient's scale and the roots.
  kernels::AdafactorArgs args_of(const weights::Weight& weight,
                                 const kernels::ConstArray& gradient,
                                 const kernels::ParamView& view) const {
    const bool matrix = is_matrix(weight);
    return {.weights = view,
            .gradient = gradient,
            .rows = matrix ? weight.here.size(0) : 1,
            .columns = matrix ? weight.here.size(1) : weight.here.numel(),
            .eps = static_cast<float>(numbers_.eps)};
  }

  // Moves R and C, or V, towards this gradient's.
  void move_averages(weights::Weight& weight, int64_t rows, int64_t columns,
                     const Statistics& statistics) {
    const double rate = 1 - numbers_.beta2;
    column(weight).mul_(1 - rate).add_(statistics.columns(),
                                       rate / static_cast<double>(rows));
    if (!is_matrix(weight)) return;
    float* averages = ops::floats_of(row(weight));
    const double* squares = statistics.rows().const_data_ptr<double>();
    for (int64_t i = 0; i < rows; ++i)
      averages[i] = static_cast<float>((1 - rate) * averages[i] +
                                       rate * squares[i] / static_cast<double>(columns));
  }

  // sqrt(R / mean(R)) of each row.
  static at::Tensor roots_of_rows(const at::Tensor& row) {
    const float* values = row.const_data_ptr<float>();
    const int64_t count = row.numel();
    const double mean =
        std::accumulate(values, values + count, 0.0) / static_cast<double>(count);
    at::Tensor roots = at::zeros({count}, at::kFloat);
    float* root = ops::floats_of(roots);
    if (mean > 0)
      for (int64_t i = 0; i < count; ++i)
        root[i] = static_cast<float>(std::sqrt(values[i] / mean));
    return roots;
  }
};

}  // namespace

std::unique_ptr<Optimizer> make_adafactor(const RuleNumbers& numbers, uint64_t seed) {
  return std::make_unique<Adafactor>(numbers, seed);
}

}  // namespace lowmem::optim
