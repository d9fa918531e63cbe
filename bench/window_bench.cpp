// Attention over one sequence of 4096 tokens in Mistral's proportions, forward and
// backward, through a window of so many keys; 0: through none.
#include <torch/csrc/autograd/autograd.h>

#include "compare.h"
#include "lowmem/ops/attention.h"

namespace lowmem::bench {
namespace {

constexpr int64_t kLength = 4096, kQueryHeads = 8, kKeyHeads = 2, kSize = 128;

void attention_through_a_window(benchmark::State& state, at::ScalarType dtype) {
  const at::AutoGradMode with_graph(true);  // which the other benchmarks do without
  const auto draw = [&](int64_t heads) {
    return normal({kLength, heads, kSize}, dtype).set_requires_grad(true);
  };
  const at::Tensor q = draw(kQueryHeads), k = draw(kKeyHeads), v = draw(kKeyHeads);
  const at::Tensor gradient = normal(q.sizes(), dtype);
  ops::Spans spans = {{kLength, kLength, {}}};
  spans.window = state.range(0);
  for (auto _ : state)
    benchmark::DoNotOptimize(
        torch::autograd::grad({ops::attention(q, k, v, spans)}, {q, k, v}, {gradient}));
}

void with_windows(benchmark::internal::Benchmark* bench) {
  for (const int64_t window : {0, 512, 2048}) bench->Arg(window);
  bench->Unit(benchmark::kMillisecond)->Iterations(3);
}

BENCHMARK_CAPTURE(attention_through_a_window, fp32, at::kFloat)->Apply(with_windows);
BENCHMARK_CAPTURE(attention_through_a_window, bf16, at::kBFloat16)->Apply(with_windows);

}  // namespace
}  // namespace lowmem::bench
