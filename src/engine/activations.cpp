#include "lowmem/engine/activations.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

namespace lowmem::engine {
namespace {

at::Tensor leaf(const at::Tensor& input, bool with_gradient) {
  return input.detach().set_requires_grad(with_gradient);
}

at::Tensor run_with_graph(const model::Block& block, const at::Tensor& input,
                          const model::Packed& packed) {
  const at::AutoGradMode with_graph(true);
  return block.forward(input, packed);
}

at::Tensor run_backward(const at::Tensor& output, const at::Tensor& output_gradient,
                        const at::Tensor& input) {
  torch::autograd::backward({output}, {output_gradient});
  return input.requires_grad() ? input.grad() : at::Tensor();
}

// Keeps the whole graph of the block.
class Keep final : public Activations {
 public:
  at::Tensor forward(const model::Block& block, const at::Tensor& input,
                     const model::Packed& packed, bool input_gradient,
                     SavedBlock& saved) const override {
    saved.input = leaf(input, input_gradient);
    saved.output = run_with_graph(block, saved.input, packed);
    return saved.output.detach();
  }

  at::Tensor backward(const model::Block&, const at::Tensor& output_gradient,
                      const model::Packed&, SavedBlock& saved) const override {
    const SavedBlock block = std::exchange(saved, {});
    return run_backward(block.output, output_gradient, block.input);
  }
};

// Keeps the block's input and runs it again with a graph when its backward pass comes.
// Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost".
class Recompute final : public Activations {
 public:
  at::Tensor forward(const model::Block& block, const at::Tensor& input,
                     const model::Packed& packed, bool input_gradient,
                     SavedBlock& saved) const override {
    const at::NoGradGuard no_graph;
    saved.input = leaf(input, input_gradient);
    return block.forward(saved.input, packed);
  }

  at::Tensor backward(const model::Block& block, const at::Tensor& output_gradient,
                      const model::Packed& packed, SavedBlock& saved) const override {
    const at::Tensor input = std::exchange(saved, {}).input;
    const at::Tensor output = run_with_graph(block, input, packed);
    return run_backward(output, output_gradient, input);
  }
};

}  // namespace

std::unique_ptr<Activations> make_activations(ActivationsMode mode) {
  if (mode == ActivationsMode::kRecompute) return std::make_unique<Recompute>();
  return std::make_unique<Keep>();
}

}  // namespace lowmem::engine
