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
struct Statistics {
  explicit Statistics(const kernels::AdafactorArgs& args)
      : rows(row_numbers(args.rows)), weights(row_numbers(args.rows)) {
    const int64_t block = (args.rows + kBlocks - 1) / kBlocks;
    const int64_t blocks = (args.rows + block - 1) / block;
    at::Tensor partial = at::zeros({blocks, args.columns}, at::kFloat);
    float* sums = ops::floats_of(partial);
    ops::parallel(blocks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        kernels::adafactor_statistics(
            args, i * block, std::min(args.rows, (i + 1) * block), doubles_of(rows),
            doubles_of(weights), sums + i * args.columns);
    });
    columns = partial.sum(0);
  }

  double squared_gradient() const { return total(rows); }
  double squared_weights() const { return total(weights); }

  at::Tensor rows, weights;  // [rows] double
  at::Tensor columns;        // [columns] fp32
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

  UpdateResult apply(weights::Weight& weight, const at::Tensor& grad,
                     const StepInfo& step) override {
    const bool matrix = is_matrix(weight);
    kernels::AdafactorArgs args = args_of(weight, grad, weights_of(weight, step));
    args.scale = step.grad_scale;
    const int64_t grain = std::max<int64_t>(1, ops::kGrain / args.columns);

    const Statistics statistics(args);
    // Measured scaled, reported unscaled.
    UpdateResult result{
        statistics.squared_gradient() / (static_cast<double>(args.scale) * args.scale),
        {}};
    if (!result.finite()) return result;
    move_averages(weight, args, matrix, statistics);
    const double weight_norm =
        std::max(std::sqrt(statistics.squared_weights()), least_norm(weight));
    const at::Tensor row_root = matrix ? roots_of_rows(row(weight)) : at::Tensor();
    const at::Tensor column_root = column(weight).sqrt();
    if (matrix) args.row_root = row_root.const_data_ptr<float>();
    args.column_root = column_root.const_data_ptr<float>();

    at::Tensor sums = row_numbers(args.rows);
    ops::parallel(args.rows, grain, [&](int64_t begin, int64_t end) {
      kernels::adafactor_update_norm(args, begin, end, doubles_of(sums));
    });
    const double update_norm = std::sqrt(total(sums));
    const float factor =
        static_cast<float>(step.lr * weight_norm / (update_norm + 1e-20));
    result.rounding =
        ops::parallel_update(args.rows, grain, [&](int64_t begin, int64_t end) {
          return kernels::adafactor_write(args, factor, begin, end);
        });
    return result;
  }

  // Seven launches or eight, with nothing between them but the device.
  void apply_on_device(weights::Weight& weight, const at::Tensor& grad,
                       const DeviceUpdate& update) override {
    const bool matrix = is_matrix(weight);
    kernels::AdafactorArgs args = args_of(weight, grad, weights_of(weight, {}));
    const auto doubles = grad.options().dtype(at::kDouble);
    const auto floats = grad.options().dtype(at::kFloat);
    at::Tensor rows = at::empty({2, args.rows}, doubles);  // of g^2, then u^2; of p^2
    at::Tensor columns = at::empty({args.columns}, floats);
    at::Tensor roots = at::empty({args.rows + args.columns}, floats);
    at::Tensor workspace =
        at::empty({kernels::cuda::adafactor_workspace(args.rows, args.columns)},
                  grad.options().dtype(at::kByte));
    at::Tensor weight_norm = at::empty({1}, doubles), factor = at::empty({1}, floats);
    at::Tensor squared_norm = update.squared_norm;

    double* row_sums = doubles_of(rows);
    double* weight_sums = row_sums + args.rows;
    // Those of columns first: 16 bytes are read at a time.
    float* column_root = ops::floats_of(roots);
    float* row_root = matrix ? column_root + args.columns : nullptr;
    args.row_root = row_root;
    args.column_root = column_root;
    const kernels::cuda::AdafactorAverages averages{
        .rate = 1 - numbers_.beta2,
        .row = matrix ? ops::floats_of(row(weight)) : nullptr,
        .column = ops::floats_of(column(weight)),
        .row_root = row_root,
        .column_root = column_root,
        .squared_norm = update.measured ? nullptr : doubles_of(squared_norm),
        .squared_weight_norm = doubles_of(weight_norm)};
    const kernels::Pending pending = pending_of(update);
    const kernels::Stream stream = ops::stream_of(grad);
    kernels::cuda::adafactor_statistics(args, pending, row_sums, weight_sums,
                                        ops::floats_of(columns),
                                        workspace.mutable_data_ptr(), stream);
    kernels::cuda::adafactor_averages(args, averages, row_sums, weight_sums,
                                      ops::floats_of(columns), pending, stream);
    kernels::cuda::adafactor_update_norm(args, pending, row_sums, stream);
    kernels::cuda::adafactor_factor(args.rows, row_sums, doubles_of(weight_norm),
                                    least_norm(weight), 0, pending,
                                    ops::floats_of(factor), stream);
    kernels::cuda::adafactor_write(args, ops::floats_of(factor), pending,
                                   report_of(update), stream);
  }

  // All but the gradient's scale and the roots.
  kernels::AdafactorArgs args_of(const weights::Weight& weight, const at::Tensor& grad,
                                 const kernels::ParamView& view) const {
    const bool matrix = is_matrix(weight);
    return {.weights = view,
            .gradient = ops::const_array_of(grad),
            .rows = matrix ? weight.here.size(0) : 1,
            .columns = matrix ? weight.here.size(1) : weight.here.numel(),
            .eps = static_cast<float>(numbers_.eps)};
  }

  // Moves R and C, or V, towards this gradient's.
  void move_averages(weights::Weight& weight, const kernels::AdafactorArgs& args,
                     bool matrix, const Statistics& statistics) {
    const double rate = 1 - numbers_.beta2;
    column(weight).mul_(1 - rate).add_(statistics.columns,
                                       rate / static_cast<double>(args.rows));
    if (!matrix) return;
    float* averages = ops::floats_of(row(weight));
    const double* squares = statistics.rows.const_data_ptr<double>();
    for (int64_t i = 0; i < args.rows; ++i)
      averages[i] =
          static_cast<float>((1 - rate) * averages[i] +
                             rate * squares[i] / static_cast<double>(args.columns));
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
