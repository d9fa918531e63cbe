#include "compare.h"
#include "lowmem/kernels/adam.h"
#include "lowmem/ops/elements.h"

namespace lowmem::bench {
namespace {

// With fp32 averages; ATen's side is torch.optim's.
struct Adam {
  explicit Adam(at::ScalarType dtype)
      : weights(normal({kIntermediate, kHidden}, dtype, 0.02)),
        gradient(normal({kIntermediate, kHidden}, dtype)),
        mean(at::zeros({kIntermediate, kHidden}, at::kFloat)),
        mean_square(at::zeros_like(mean)) {}

  void kernel() {
    kernels::AdamArgs args;
    args.weights = ops::weights_of(weights);
    args.weights.rounding = kernels::Rounding::kStochastic;
    args.gradient = ops::const_array_of(gradient);
    args.mean = {mean.mutable_data_ptr(), DType::kF32, {}};
    args.mean_square = {mean_square.mutable_data_ptr(), DType::kF32, {}};
    args.mean_rate = kMeanRate;
    args.beta2 = kBeta2;
    args.square_rate = kSquareRate;
    args.eps = kEps;
    args.step_size = kStepSize;
    args.root = kRoot;
    kernels::adam(args, 0, weights.numel());
  }
  void aten() {
    const at::Tensor g = gradient.to(at::kFloat);
    mean.lerp_(g, kMeanRate);
    mean_square.mul_(kBeta2).addcmul_(g, g, kSquareRate);
    const at::Tensor denominator = mean_square.sqrt().div_(kRoot).add_(kEps);
    if (weights.scalar_type() == at::kFloat)
      weights.addcdiv_(mean, denominator, -kStepSize);
    else
      subtract(weights, (mean / denominator).mul_(kStepSize));
  }
  int64_t bytes() const {
    return static_cast<int64_t>(2 * weights.nbytes() + gradient.nbytes() +
                                2 * mean.nbytes() + 2 * mean_square.nbytes());
  }

  static constexpr float kMeanRate = 0.1f, kBeta2 = 0.999f, kSquareRate = 0.001f;
  static constexpr float kEps = 1e-8f, kStepSize = 3e-6f, kRoot = 0.5f;
  at::Tensor weights, gradient, mean, mean_square;
};

[[maybe_unused]] const bool registered = compare<Adam>("adam");

// What averages cost of each type: as many elements as the cache holds, so that the
// arithmetic shows and not the memory. All else is fp32.
void run_averages(benchmark::State& state, DType dtype, kernels::Isa isa) {
  constexpr int64_t kCount = 16384;
  kernels::use_isa(isa);
  at::Tensor weights = normal({kCount}, at::kFloat, 0.02);
  const at::Tensor gradient = normal({kCount}, at::kFloat);
  at::Tensor mean = at::zeros({kCount}), mean_square = at::zeros({kCount});
  at::Tensor scales = at::zeros({2, kernels::code_blocks(kCount)});
  if (dtype == DType::kU8) mean.view(at::kByte).fill_(127);
  float* const first = scales.mutable_data_ptr<float>();
  kernels::AdamArgs args;
  args.weights = ops::weights_of(weights);
  args.gradient = ops::const_array_of(gradient);
  args.mean = {mean.mutable_data_ptr(), dtype, {}, first};
  args.mean_square = {
      mean_square.mutable_data_ptr(), dtype, {}, first + kernels::code_blocks(kCount)};
  args.mean_rate = Adam::kMeanRate;
  args.beta2 = Adam::kBeta2;
  args.square_rate = Adam::kSquareRate;
  args.eps = Adam::kEps;
  args.step_size = Adam::kStepSize;
  args.root = Adam::kRoot;
  args.most_ratio = 50;
  for (auto _ : state) kernels::adam(args, 0, kCount);
  state.counters["element"] = {// its time
                               kCount, benchmark::Counter::kIsIterationInvariantRate |
                                           benchmark::Counter::kInvert};
}

bool register_averages() {
  for (const auto isa :
       {kernels::Isa::kPortable, kernels::Isa::kAvx2, kernels::Isa::kAvx512})
    for (const auto& [dtype, word] :
         {std::pair{DType::kF32, "fp32"}, {DType::kBF16, "bf16"}, {DType::kU8, "int8"}})
      if (isa <= kernels::best_isa())
        benchmark::RegisterBenchmark(
            (std::string("adam_averages/") + word + "/" + kernels::isa_name(isa)).c_str(),
            run_averages, dtype, isa);
  return true;
}
[[maybe_unused]] const bool averages_registered = register_averages();

}  // namespace
}  // namespace lowmem::bench
