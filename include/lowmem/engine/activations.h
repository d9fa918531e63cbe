#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
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
  // Whether the hooks do the same with the gradients in every step, but for numbers that
  // a device keeps: their launches can be replayed.
  bool replayable_hooks = false;
};

// What is kept of one block for one micro-batch, from its forward to its backward pass.
struct SavedBlock {
  at::Tensor input;   // leaf, or undefined where it is looked up again
  at::Tensor output;  // holds the graph; undefined where it is made again
};

// What a policy has recorded as graphs of a device.
struct GraphCounts {
  int64_t recorded = 0, replayed = 0;
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

  virtual GraphCounts graphs() const { return {}; }
};

// `graphs`: whether recompute replays a block's launches instead of putting them on the
// stream anew, on a device; kAuto: where a micro-batch is so small that launches take
// longer than the work.
std::unique_ptr<Activations> make_activations(ActivationsMode mode,
                                              GraphsMode graphs = GraphsMode::kFalse);

}  // namespace lowmem::engine
