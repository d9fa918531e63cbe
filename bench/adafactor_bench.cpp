#include "compare.h"
#include "lowmem/kernels/adafactor.h"
#include "lowmem/ops/dtype.h"
#include "lowmem/ops/elements.h"
#include "lowmem/optim/optimizer.h"

namespace lowmem::bench {
namespace {

// What its three passes share.
struct Matrix {
  explicit Matrix(at::ScalarType dtype)
      : weights(normal({kIntermediate, kHidden}, dtype, 0.02)),
        gradient(normal({kIntermediate, kHidden}, dtype)),
        row_root(at::rand({kIntermediate}).add_(0.5)),
        column_root(at::rand({kHidden}).add_(0.5)) {}

  kernels::AdafactorArgs args() {
    kernels::AdafactorArgs args;
    args.weights = ops::weights_of(weights);
    args.weights.rounding = kernels::Rounding::kStochastic;
    args.gradient = ops::const_array_of(gradient);
    args.rows = kIntermediate;
    args.columns = kHidden;
    args.eps = 1e-30f;
    args.row_root = ops::floats_of(row_root);
    args.column_root = ops::floats_of(column_root);
    return args;
  }
  at::Tensor update() const {
    return gradient / (row_root.unsqueeze(1) * column_root).add_(1e-30);
  }

  at::Tensor weights, gradient, row_root, column_root;
};

struct Statistics : Matrix {
  using Matrix::Matrix;
  void kernel() {
    columns.zero_();
    kernels::adafactor_statistics(args(), 0, kIntermediate, rows.data(),
                                  weight_rows.data(), ops::floats_of(columns));
  }
  void aten() {
    const at::Tensor square = gradient.to(at::kFloat).square();
    benchmark::DoNotOptimize(square.sum(1));
    benchmark::DoNotOptimize(square.sum(0));
    benchmark::DoNotOptimize(weights.to(at::kFloat).square().sum(1));
  }
  int64_t bytes() const {
    return static_cast<int64_t>(gradient.nbytes() + weights.nbytes());
  }

  std::vector<double> rows = std::vector<double>(kIntermediate), weight_rows = rows;
  at::Tensor columns = at::zeros({kHidden}, at::kFloat);
};

struct UpdateNorm : Matrix {
  using Matrix::Matrix;
  void kernel() { kernels::adafactor_update_norm(args(), 0, kIntermediate, rows.data()); }
  void aten() { benchmark::DoNotOptimize(update().square_().sum(1)); }
  int64_t bytes() const { return static_cast<int64_t>(gradient.nbytes()); }

  std::vector<double> rows = std::vector<double>(kIntermediate);
};

struct Write : Matrix {
  using Matrix::Matrix;
  void kernel() { kernels::adafactor_write(args(), kFactor, 0, kIntermediate); }
  void aten() { subtract(weights, update().mul_(kFactor)); }
  int64_t bytes() const {
    return static_cast<int64_t>(gradient.nbytes() + 2 * weights.nbytes());
  }

  static constexpr float kFactor = 1e-6f;
};

// The whole update, averages and finite check included.
struct Whole : Matrix {
  explicit Whole(at::ScalarType dtype)
      : Matrix(dtype), optimizer(optim::make_optimizer(OptimizerConfig(), 42)) {
    weight.spec.shape = weights.sizes().vec();
    weight.format = ops::dtype_of(weights);
    weight.here = weights;
    optimizer->prepare(weight);
  }
  void kernel() {
    optimizer->update(weight, gradient, {step, kRate});
    ++step;
  }
  void aten() {
    const at::Tensor g = gradient.to(at::kFloat), square = g.square();
    rows.mul_(kBeta2).add_(square.mean(1), 1 - kBeta2);
    columns.mul_(kBeta2).add_(square.mean(0), 1 - kBeta2);
    at::Tensor u =
        g / (rows.unsqueeze(1) * columns).div_(rows.mean()).sqrt_().add_(1e-30);
    u.mul_(weights.to(at::kFloat).norm() / (u.norm() + 1e-20) * kRate);
    subtract(weights, u);
  }
  int64_t bytes() const {
    return static_cast<int64_t>(3 * gradient.nbytes() + 3 * weights.nbytes());
  }

  static constexpr double kRate = 1e-4, kBeta2 = 0.99;
  std::unique_ptr<optim::Optimizer> optimizer;
  lowmem::weights::Weight weight;
  int64_t step = 0;
  at::Tensor rows = at::zeros({kIntermediate}, at::kFloat);
  at::Tensor columns = at::zeros({kHidden}, at::kFloat);
};

[[maybe_unused]] const bool registered = compare<Statistics>("adafactor_statistics") &&
                                         compare<UpdateNorm>("adafactor_update_norm") &&
                                         compare<Write>("adafactor_write") &&
                                         compare<Whole>("adafactor");

}  // namespace
}  // namespace lowmem::bench
