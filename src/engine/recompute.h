#pragma once

#include "lowmem/engine/activations.h"

namespace lowmem::engine {

// Keeps the block's input and runs it again with a graph when its backward pass comes,
// all but the last product, whose result only the next block needed.
// Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost".
class Recompute final : public Activations {
 public:
  at::Tensor forward(const BlockCall& call, const at::Tensor& input,
                     SavedBlock& saved) const override;
  at::Tensor backward(const BlockCall& call, at::Tensor output_gradient,
                      SavedBlock& saved) const override;

  // What backward() does once it has the input; takes the gradient over.
  static at::Tensor backward_from(const BlockCall& call, const at::Tensor& input,
                                  at::Tensor output_gradient);
};

// Recompute with a block's launches replayed as graphs of the device.
std::unique_ptr<Activations> make_graphed_recompute(GraphsMode graphs);

}  // namespace lowmem::engine
