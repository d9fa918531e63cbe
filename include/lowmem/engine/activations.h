#pragma once

#include <ATen/core/Tensor.h>

#include <memory>

#include "lowmem/config/choices.h"
#include "lowmem/model/layers.h"

namespace lowmem::engine {

// What is kept of one block for one micro-batch, from its forward to its backward pass.
struct SavedBlock {
  at::Tensor input;   // leaf; needs a gradient where something below is trained
  at::Tensor output;  // holds the graph; undefined where it is made again
};

// The policy for activations: what is kept of a block between forward and backward. All
// policies run the same operations on the same numbers.
class Activations {
 public:
  virtual ~Activations() = default;

  // The block's output, without a graph. `input_gradient`: whether backward() must return
  // one.
  virtual at::Tensor forward(const model::Block& block, const at::Tensor& input,
                             const model::Packed& packed, bool input_gradient,
                             SavedBlock& saved) const = 0;

  // Runs the block's backward pass, in which the hooks see its weights' gradients, and
  // frees `saved`. Returns the gradient of the input, or an undefined tensor.
  virtual at::Tensor backward(const model::Block& block,
                              const at::Tensor& output_gradient,
                              const model::Packed& packed, SavedBlock& saved) const = 0;
};

std::unique_ptr<Activations> make_activations(ActivationsMode mode);

}  // namespace lowmem::engine
