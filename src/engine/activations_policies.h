#pragma once

#include "lowmem/engine/activations.h"
#include "lowmem/weights/store.h"

namespace lowmem::engine {

// The policies, one a file: keep.cpp, recompute.cpp, graphed_recompute.cpp,
// keep_last.cpp, kept_on_disk.cpp, kept_inputs.cpp.

// Keeps the whole graph of the block.
std::unique_ptr<Activations> make_keep();

// Keeps the block's input and runs it again with a graph when its backward pass comes,
// all but the last product, whose result only the next block needed.
// Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost".
class Recompute final : public Activations {
 public:
  at::Tensor forward(const BlockCall& call, const at::Tensor& input,
                     SavedBlock& saved) override;
  at::Tensor backward(const BlockCall& call, at::Tensor output_gradient,
                      SavedBlock& saved) override;

  // What backward() does once it has the input; takes the gradient over.
  static at::Tensor backward_from(const BlockCall& call, const at::Tensor& input,
                                  at::Tensor output_gradient);
};

// Recompute with a block's launches replayed as graphs of the device.
std::unique_ptr<Activations> make_graphed_recompute(const ActivationsSetup& setup);

// One of the two.
std::unique_ptr<Activations> make_recompute(const ActivationsSetup& setup);

// Keep for the last `blocks` blocks, and what `setup` asks of recompute for the others.
std::unique_ptr<Activations> make_keep_last(size_t blocks, const ActivationsSetup& setup);

// Another policy, of which what is kept waits on the disk. CPU.
std::unique_ptr<Activations> make_kept_on_disk(std::unique_ptr<Activations> policy,
                                               const ActivationsSetup& setup);

// Another policy, of which the inputs of blocks wait in a store. For a GPU.
std::unique_ptr<Activations> make_kept_inputs(std::unique_ptr<Activations> policy,
                                              const ActivationsSetup& setup,
                                              std::unique_ptr<weights::Store> store);

// What they share.

// A block's input, cut from what made it.
at::Tensor leaf(const at::Tensor& input, bool with_gradient);

at::Tensor run_with_graph(const BlockCall& call, const at::Tensor& input,
                          ops::Output output);

// Takes over both. What torch::autograd::backward() does, but for holding the output's
// numbers, [N, D], all the while: the graph needs only its edge.
at::Tensor run_backward(at::Tensor output, at::Tensor output_gradient,
                        const at::Tensor& input);

}  // namespace lowmem::engine
