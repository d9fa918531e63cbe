#pragma once

#include <ATen/core/Tensor.h>

#include <memory>

#include "lowmem/config/choices.h"
#include "lowmem/model/llama.h"

namespace lowmem::engine {

// One micro-batch's way through one block.
struct BlockCall {
  const model::Block& block;
  const model::Packed& packed;
  const model::Rows* rows = nullptr;  // the last block's: the tokens that have a label
  bool input_gradient = true;         // whether backward() must return one
  // The first block's: its input, the embeddings, need not be kept to be had again.
  const model::Llama* embedded_by = nullptr;
};

// What is kept of one block for one micro-batch, from its forward to its backward pass.
struct SavedBlock {
  at::Tensor input;   // leaf, or undefined where it is looked up again
  at::Tensor output;  // holds the graph; undefined where it is made again
};

// The policy for activations: what is kept of a block between forward and backward. All
// policies run the same operations on the same numbers.
class Activations {
 public:
  virtual ~Activations() = default;

  // The block's output, without a graph.
  virtual at::Tensor forward(const BlockCall& call, const at::Tensor& input,
                             SavedBlock& saved) const = 0;

  // Runs the block's backward pass, in which the hooks see its weights' gradients, and
  // frees `saved`. Returns the gradient of the input, or an undefined tensor.
  virtual at::Tensor backward(const BlockCall& call, at::Tensor output_gradient,
                              SavedBlock& saved) const = 0;
};

std::unique_ptr<Activations> make_activations(ActivationsMode mode);

}  // namespace lowmem::engine
