#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>

#include "lowmem/core/units.h"
#include "lowmem/ops/dtype.h"
#include "lowmem/train/plan.h"

namespace lowmem::train {
namespace {

// Of a GPU's kind: enough to compare settings with.
constexpr Speed kLikeAGpu{2e14, 2e12};

// Calls `work`, which does `amount`, for a while; returns the highest amount a second.
template <class F>
double speed(double amount, F&& work) {
  using Clock = std::chrono::steady_clock;
  const auto seconds = [](Clock::duration time) {
    return std::chrono::duration<double>(time).count();
  };
  work();  // first use compiles or selects a kernel
  double best = 0;
  for (const auto start = Clock::now(); seconds(Clock::now() - start) < 0.05;) {
    const auto before = Clock::now();
    work();
    best = std::max(best, amount / std::max(1e-9, seconds(Clock::now() - before)));
  }
  return best;
}

// Floating-point operations a second in a product of a batch by a wide weight.
double product_speed(const RunConfig& config, const Inputs& inputs, const Work& work) {
  constexpr int64_t kMostRows = 1024, kMostColumns = 4096;
  const int64_t rows = std::clamp<int64_t>(work.largest_tokens, 1, kMostRows);
  const int64_t inner = std::min(inputs.shape.hidden_size, kMostColumns);
  const int64_t columns = std::min(inputs.shape.intermediate_size, kMostColumns);
  const at::ScalarType type = ops::scalar_type(config.model.compute_dtype);
  const at::Tensor x = at::ones({rows, inner}, type);
  const at::Tensor weight = at::ones({columns, inner}, type);
  return speed(2.0 * static_cast<double>(rows * inner * columns),
               [&] { at::linear(x, weight); });
}

// Bytes a second, read or written.
double memory_speed() {
  constexpr int64_t kBytes = 16 * kMiB;
  const at::Tensor from = at::zeros({kBytes}, at::kByte);
  at::Tensor to = at::zeros({kBytes}, at::kByte);
  return speed(2.0 * kBytes, [&] { to.copy_(from); });
}

double optimizer_bytes_an_element(const RunConfig& config) {
  const auto weight = static_cast<double>(dtype_size(config.model.dtype));
  const auto state = static_cast<double>(dtype_size(config.optimizer.state_dtype));
  const double kahan = config.optimizer.rounding == RoundingMode::kKahan ? 4 : 0;
  switch (config.optimizer.name) {
    case OptimizerKind::kAdam:
    case OptimizerKind::kAdamW:
      return 4 * weight + 4 * state + kahan;
    case OptimizerKind::kAdafactor:
      return 6 * weight + kahan;  // three passes over the gradient, two over the weight
    case OptimizerKind::kSgd:
      return 4 * weight + (config.optimizer.momentum > 0 ? 8 : 0) + kahan;
  }
  return 0;
}

}  // namespace

Speed measure_speed(const RunConfig& config, const Inputs& inputs, const Work& work) {
  // To time a GPU is to wait for it, and to take memory that the run's count would show.
  if (!inputs.device.is_cpu()) return kLikeAGpu;
  return {product_speed(config, inputs, work), memory_speed()};
}

double estimate_seconds(const RunConfig& config, const model::LlamaConfig& shape,
                        const Work& work, const Speed& speed) {
  const auto head = static_cast<double>(shape.vocab_size * shape.hidden_size);
  const double tables = head * (shape.tie_word_embeddings ? 1 : 2);
  const double blocks = static_cast<double>(model::parameter_count(shape)) - tables;
  const bool recompute = config.memory.activations == ActivationsMode::kRecompute;
  const bool two_pass =
      config.optimizer.clip_norm > 0 && config.memory.gradients == GradientsMode::kUpdate;

  // Forward, perhaps again, and two products a weight backward.
  const double passes = (recompute ? 4 : 3) * (two_pass ? 2 : 1);
  const double training =
      2 * passes * blocks * static_cast<double>(work.tokens) +
      2 * 2 * (two_pass ? 2 : 1) * head * static_cast<double>(work.labelled);
  const double evaluating = 2 * blocks * static_cast<double>(work.evaluated_tokens) *
                            static_cast<double>(work.evaluations);
  const double updating =
      optimizer_bytes_an_element(config) * blocks * static_cast<double>(work.steps);
  return (training + evaluating) / speed.operations + updating / speed.bytes;
}

}  // namespace lowmem::train
