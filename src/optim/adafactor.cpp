#include "lowmem/kernels/adafactor.h"

#include <ATen/ATen.h>

#include <cmath>
#include <numeric>

#include "lowmem/ops/elements.h"
#include "optimizers.h"

namespace lowmem::optim {
namespace {

// Rows are cut into at most this many blocks, each with column sums of its own, so that
// the result is the same for any number of threads.
constexpr int64_t kBlocks = 8;

double sum(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

// Sums of squares of one gradient, scaled, and of its weights.
struct Statistics {
  explicit Statistics(const kernels::AdafactorArgs& args)
      : rows(static_cast<size_t>(args.rows)), weights(rows.size()) {
    const int64_t block = (args.rows + kBlocks - 1) / kBlocks;
    const int64_t blocks = (args.rows + block - 1) / block;
    at::Tensor partial = at::zeros({blocks, args.columns}, at::kFloat);
    float* sums = ops::floats_of(partial);
    ops::parallel(blocks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        kernels::adafactor_statistics(args, i * block,
                                      std::min(args.rows, (i + 1) * block), rows.data(),
                                      weights.data(), sums + i * args.columns);
    });
    columns = partial.sum(0);
  }

  double squared_gradient() const { return sum(rows); }
  double squared_weights() const { return sum(weights); }

  std::vector<double> rows, weights;  // of each row
  at::Tensor columns;                 // [columns] fp32
};

class Adafactor final : public Optimizer {
 public:
  using Optimizer::Optimizer;

  int64_t state_bytes(at::IntArrayRef shape) const override {
    const int64_t elements = c10::multiply_integers(shape);
    return 4 * (shape.size() < 2 ? elements : shape[0] + shape[1]) +
           rounding_bytes() * elements;
  }

 private:
  UpdateResult apply(ParamSlot& slot, const at::Tensor& grad,
                     const StepInfo& step) override {
    const bool matrix = slot.param.dim() == 2;
    kernels::AdafactorArgs args{
        .weights = weights_of(slot, step),
        .gradient = ops::const_array_of(grad),
        .rows = matrix ? slot.param.size(0) : 1,
        .columns = matrix ? slot.param.size(1) : slot.param.numel(),
        .scale = step.grad_scale,
        .eps = static_cast<float>(*config_.eps),
    };
    const int64_t grain = std::max<int64_t>(1, ops::kGrain / args.columns);

    const Statistics statistics(args);
    // Measured scaled, reported unscaled.
    UpdateResult result{
        statistics.squared_gradient() / (static_cast<double>(args.scale) * args.scale),
        {}};
    if (!result.finite()) return result;
    move_averages(slot, args, matrix, statistics);
    const double weight_norm = std::sqrt(statistics.squared_weights());
    const std::vector<float> row_root =
        matrix ? roots_of_rows(slot) : std::vector<float>();
    const at::Tensor column_root =
        state(slot, matrix ? "col" : "exp_avg_sq", {args.columns}).sqrt();
    if (matrix) args.row_root = row_root.data();
    args.column_root = column_root.const_data_ptr<float>();

    std::vector<double> sums(static_cast<size_t>(args.rows));
    ops::parallel(args.rows, grain, [&](int64_t begin, int64_t end) {
      kernels::adafactor_update_norm(args, begin, end, sums.data());
    });
    const double update_norm = std::sqrt(sum(sums));
    const float factor =
        static_cast<float>(step.lr * weight_norm / (update_norm + 1e-20));
    result.rounding =
        ops::parallel_update(args.rows, grain, [&](int64_t begin, int64_t end) {
          return kernels::adafactor_write(args, factor, begin, end);
        });
    return result;
  }

  // Moves R and C, or V, towards this gradient's.
  void move_averages(ParamSlot& slot, const kernels::AdafactorArgs& args, bool matrix,
                     const Statistics& statistics) {
    const double rate = 1 - *config_.beta2;
    state(slot, matrix ? "col" : "exp_avg_sq", {args.columns})
        .mul_(1 - rate)
        .add_(statistics.columns, rate / static_cast<double>(args.rows));
    if (!matrix) return;
    float* row = ops::floats_of(state(slot, "row", {args.rows}));
    for (size_t i = 0; i < statistics.rows.size(); ++i)
      row[i] =
          static_cast<float>((1 - rate) * row[i] + rate * statistics.rows[i] /
                                                       static_cast<double>(args.columns));
  }

  // sqrt(R / mean(R)) of each row.
  static std::vector<float> roots_of_rows(ParamSlot& slot) {
    const at::Tensor& row = slot.state.at("row");
    const float* values = row.const_data_ptr<float>();
    const auto count = static_cast<size_t>(row.numel());
    const double mean =
        std::accumulate(values, values + count, 0.0) / static_cast<double>(count);
    std::vector<float> roots(count, 0.0f);
    if (mean > 0)
      for (size_t i = 0; i < count; ++i)
        roots[i] = static_cast<float>(std::sqrt(values[i] / mean));
    return roots;
  }
};

}  // namespace

std::unique_ptr<Optimizer> make_adafactor(const OptimizerConfig& config, uint64_t seed) {
  return std::make_unique<Adafactor>(config, seed);
}

}  // namespace lowmem::optim
