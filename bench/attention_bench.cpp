// A batch of eight rows of 41 tokens, each a sequence of its own, in Llama-3.2-1B's
// heads. ATen's side is its fused attention, called for each sequence.
#include <torch/csrc/autograd/autograd.h>

#include <cmath>

#include "compare.h"
#include "lowmem/kernels/attention.h"
#include "lowmem/ops/elements.h"

namespace lowmem::bench {
namespace {

constexpr int64_t kSequences = 8, kLength = kTokens / kSequences, kKvHeads = 8;

struct Sequence {
  explicit Sequence(at::ScalarType dtype)
      : q(normal({kLength, kHeads, kHeadDim}, dtype)),
        k(normal({kLength, kKvHeads, kHeadDim}, dtype)),
        v(normal({kLength, kKvHeads, kHeadDim}, dtype)),
        out(at::empty_like(q)),
        dout(normal(q.sizes(), dtype)),
        dq(at::empty_like(q)),
        dk(at::empty_like(k)),
        dv(at::empty_like(v)) {}

  kernels::AttentionArgs args() const {
    kernels::AttentionArgs args;
    args.q = ops::const_array_of(q);
    args.k = ops::const_array_of(k);
    args.v = ops::const_array_of(v);
    args.queries = args.keys = kLength;
    args.heads = kHeads;
    args.kv_heads = kKvHeads;
    args.head_dim = kHeadDim;
    args.scale = 1 / std::sqrt(static_cast<float>(kHeadDim));
    return args;
  }
  // As [1, heads, tokens, head_dim].
  at::Tensor fused() const {
    const auto view = [](const at::Tensor& x) { return x.transpose(0, 1).unsqueeze(0); };
    return at::scaled_dot_product_attention(view(q), view(k), view(v), {}, 0,
                                            /*is_causal=*/true, std::nullopt,
                                            /*enable_gqa=*/true);
  }

  at::Tensor q, k, v, out, dout, dq, dk, dv;
};

struct Forward {
  explicit Forward(at::ScalarType dtype) {
    for (int64_t i = 0; i < kSequences; ++i) sequences.emplace_back(dtype);
    workspace =
        at::empty({kernels::attention_workspace(sequences[0].args())}, at::kFloat);
  }
  void kernel() {
    for (Sequence& each : sequences)
      kernels::attention(each.args(), ops::array_of(each.out), ops::floats_of(workspace),
                         0, kKvHeads);
  }
  void aten() {
    for (const Sequence& each : sequences) benchmark::DoNotOptimize(each.fused());
  }
  int64_t bytes() const {
    const Sequence& one = sequences.front();
    return kSequences *
           static_cast<int64_t>(2 * one.q.nbytes() + one.k.nbytes() + one.v.nbytes());
  }

  std::vector<Sequence> sequences;
  at::Tensor workspace;
};

struct Backward : Forward {
  using Forward::Forward;

  // ATen's graphs, whose forward pass is not timed.
  void reset() {
    outputs.clear();
    const at::AutoGradMode with_graph(true);
    for (Sequence& each : sequences) {
      for (at::Tensor* input : {&each.q, &each.k, &each.v})
        input->set_requires_grad(true);
      outputs.push_back(each.fused());
    }
  }
  void kernel() {
    for (Sequence& each : sequences)
      kernels::attention_backward(each.args(), ops::const_array_of(each.dout),
                                  ops::array_of(each.dq), ops::array_of(each.dk),
                                  ops::array_of(each.dv), ops::floats_of(workspace), 0,
                                  kKvHeads);
  }
  void aten() {
    for (size_t i = 0; i < sequences.size(); ++i) {
      const Sequence& each = sequences[i];
      benchmark::DoNotOptimize(
          torch::autograd::grad({outputs[i]}, {each.q, each.k, each.v},
                                {each.dout.transpose(0, 1).unsqueeze(0)}));
    }
  }
  int64_t bytes() const { return 2 * Forward::bytes(); }

  std::vector<at::Tensor> outputs;
};

[[maybe_unused]] const bool registered =
    compare<Forward>("attention") && compare<Backward>("attention_backward");

}  // namespace
}  // namespace lowmem::bench
