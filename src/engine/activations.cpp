#include "lowmem/engine/activations.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/engine.h>
#include <torch/csrc/autograd/variable.h>

#include "recompute.h"

namespace lowmem::engine {
namespace {

at::Tensor leaf(const at::Tensor& input, bool with_gradient) {
  return input.detach().set_requires_grad(with_gradient);
}

at::Tensor run_with_graph(const BlockCall& call, const at::Tensor& input,
                          ops::Output output) {
  const at::AutoGradMode with_graph(true);
  return call.block.forward(input, call.packed, call.rows, output);
}

// Takes over both. What torch::autograd::backward() does, but for holding the output's
// numbers, [N, D], all the while: the graph needs only its edge.
at::Tensor run_backward(at::Tensor output, at::Tensor output_gradient,
                        const at::Tensor& input) {
  const torch::autograd::edge_list roots{torch::autograd::impl::gradient_edge(output)};
  output.reset();
  torch::autograd::variable_list gradients;
  gradients.push_back(std::move(output_gradient));
  torch::autograd::Engine::get_default_engine().execute(
      roots, gradients, /*keep_graph=*/false, /*create_graph=*/false,
      /*accumulate_grad=*/true);
  return input.requires_grad() ? input.grad() : at::Tensor();
}

// Keeps the whole graph of the block.
class Keep final : public Activations {
 public:
  at::Tensor forward(const BlockCall& call, const at::Tensor& input,
                     SavedBlock& saved) const override {
    saved.input = leaf(input, call.input_gradient);
    saved.output = run_with_graph(call, saved.input, ops::Output::kValue);
    return saved.output.detach();
  }

  at::Tensor backward(const BlockCall&, at::Tensor output_gradient,
                      SavedBlock& saved) const override {
    SavedBlock block = std::exchange(saved, {});
    return run_backward(std::move(block.output), std::move(output_gradient), block.input);
  }
};

}  // namespace

at::Tensor Recompute::forward(const BlockCall& call, const at::Tensor& input,
                              SavedBlock& saved) const {
  const at::NoGradGuard no_graph;
  if (call.embedded_by == nullptr) saved.input = input;
  return call.block.forward(input, call.packed, call.rows);
}

at::Tensor Recompute::backward(const BlockCall& call, at::Tensor output_gradient,
                               SavedBlock& saved) const {
  const at::Tensor kept = std::exchange(saved, {}).input;
  return backward_from(
      call, call.embedded_by == nullptr ? kept : call.embedded_by->embed(call.packed.ids),
      std::move(output_gradient));
}

at::Tensor Recompute::backward_from(const BlockCall& call, const at::Tensor& kept,
                                    at::Tensor output_gradient) {
  const at::Tensor input = leaf(kept, call.input_gradient);
  return run_backward(run_with_graph(call, input, ops::Output::kGraph),
                      std::move(output_gradient), input);
}

std::unique_ptr<Activations> make_activations(ActivationsMode mode, GraphsMode graphs) {
  switch (mode) {
    case ActivationsMode::kKeep:
      return std::make_unique<Keep>();
    case ActivationsMode::kRecompute:
      if (graphs == GraphsMode::kFalse) return std::make_unique<Recompute>();
      return make_graphed_recompute(graphs);
  }
  return nullptr;
}

}  // namespace lowmem::engine
