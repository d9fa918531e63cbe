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
constexpr int64_t kBlocks = 16;

double sum(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

class Adafactor final : public Optimizer {
 public:
  Adafactor(const OptimizerConfig& config, uint64_t seed) : config_(config), seed_(seed) {
    resolve_defaults(config_);
  }

  int64_t state_bytes(at::IntArrayRef shape) const override {
    return 4 * (shape.size() < 2 ? c10::multiply_integers(shape) : shape[0] + shape[1]);
  }

 private:
  void apply(ParamSlot& slot, const at::Tensor& grad, const StepInfo& step) override {
    const bool matrix = slot.param.dim() == 2;
    kernels::AdafactorArgs args{
        .weights = ops::weights_of(slot.param),
        .gradient = ops::gradient_of(grad),
        .rows = matrix ? slot.param.size(0) : 1,
        .columns = matrix ? slot.param.size(1) : slot.param.numel(),
        .scale = step.grad_scale,
        .eps = static_cast<float>(*config_.eps),
        .rounding = rounding_of(config_.rounding),
        .noise = {seed_, static_cast<uint32_t>(step.step), slot.index},
    };
    const int64_t grain = std::max<int64_t>(1, ops::kGrain / args.columns);

    const double weight_norm = std::sqrt(update_statistics(slot, args, matrix));
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
    ops::parallel(args.rows, grain, [&](int64_t begin, int64_t end) {
      kernels::adafactor_write(args, factor, begin, end);
    });
  }

  // Moves R and C, or V, towards this gradient's. Returns the weights' squared norm.
  double update_statistics(ParamSlot& slot, const kernels::AdafactorArgs& args,
                           bool matrix) {
    const auto rows = static_cast<size_t>(args.rows);
    std::vector<double> row_sums(rows), weight_sums(rows);
    const int64_t block = (args.rows + kBlocks - 1) / kBlocks;
    const int64_t blocks = (args.rows + block - 1) / block;
    at::Tensor column_sums = at::zeros({blocks, args.columns}, at::kFloat);
    float* partial = ops::floats_of(column_sums);
    ops::parallel(blocks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        kernels::adafactor_statistics(
            args, i * block, std::min(args.rows, (i + 1) * block), row_sums.data(),
            weight_sums.data(), partial + i * args.columns);
    });
    const double rate = 1 - *config_.beta2;
    state(slot, matrix ? "col" : "exp_avg_sq", {args.columns})
        .mul_(1 - rate)
        .add_(column_sums.sum(0), rate / static_cast<double>(args.rows));
    if (matrix) {
      float* row = ops::floats_of(state(slot, "row", {args.rows}));
      for (size_t i = 0; i < rows; ++i)
        row[i] = static_cast<float>(
            (1 - rate) * row[i] + rate * row_sums[i] / static_cast<double>(args.columns));
    }
    return sum(weight_sums);
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

  OptimizerConfig config_;
  uint64_t seed_;
};

}  // namespace

std::unique_ptr<Optimizer> make_adafactor(const OptimizerConfig& config, uint64_t seed) {
  return std::make_unique<Adafactor>(config, seed);
}

}  // namespace lowmem::optim
