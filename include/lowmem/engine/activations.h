#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>

#include "lowmem/config/run_config.h"
#include "lowmem/model/llama.h"
#include "lowmem/weights/home.h"

namespace lowmem::engine {

// One micro-batch's way through one block.
struct BlockCall {
  const model::Block& block;
  size_t index = 0;  // of the block
  const model::Packed& packed;
  const model::Rows* rows = nullptr;  // the last block's: the tokens that have a label
  bool input_gradient = true;         // whether backward() must return one
  // Of those that pass the block one after another, in both directions: which it is.
  size_t micro_batch = 0, micro_batches = 1;
  // Where the block's input need not be kept to be had again: makes it. The embeddings.
  std::function<at::Tensor()> input_again = nullptr;
};

// What of a block is not in memory, or not all the time, while it is kept.
class Away {
 public:
  virtual ~Away() = default;
};

// What is kept of one block for one micro-batch, from its forward to its backward pass.
struct SavedBlock {
  at::Tensor input;   // leaf, or undefined where it is made again
  at::Tensor output;  // holds the graph; undefined where it is made again
  std::unique_ptr<Away> away = nullptr;  // goes before the tensors do
};

// What a policy has recorded as graphs of a device.
struct GraphCounts {
  int64_t recorded = 0, replayed = 0;
};

// memory.activations: what is kept of a block between forward and backward. All policies
// run the same operations on the same numbers.
class Activations {
 public:
  virtual ~Activations() = default;

  // The block's output, without a graph.
  virtual at::Tensor forward(const BlockCall& call, const at::Tensor& input,
                             SavedBlock& saved) = 0;

  // Runs the block's backward pass, in which the hooks see its weights' gradients, and
  // frees `saved`. Returns the gradient of the input, or an undefined tensor.
  virtual at::Tensor backward(const BlockCall& call, at::Tensor output_gradient,
                              SavedBlock& saved) = 0;

  virtual GraphCounts graphs() const { return {}; }
  // With where what is kept waits.
  virtual weights::Traffic traffic() const { return {}; }
  // Of its working file.
  virtual int64_t disk_bytes() const { return 0; }
};

// What a policy may have to know beside its calls.
struct ActivationsSetup {
  size_t blocks = 0;
  KeptMode kept = KeptMode::kDevice;  // where what is kept waits
  c10::Device device = c10::kCPU;     // that computes
  // For what waits elsewhere: the folder of the disk's working file, and how many blocks
  // are brought before their turn.
  std::filesystem::path scratch = {};
  int64_t ahead = 2;
  // Whether recompute replays a block's launches instead of putting them on the stream
  // anew, on a device; kAuto: where a micro-batch is so small that launches take longer
  // than the work.
  GraphsMode graphs = GraphsMode::kFalse;
  // Whether the hooks do the same with the gradients in every step of one micro-batch,
  // but for numbers that a device keeps: Gradients::replays().
  bool hooks_replay = false;
};

// Throws Error where more blocks are to keep than there are.
std::unique_ptr<Activations> make_activations(OrCount<ActivationsMode> mode,
                                              const ActivationsSetup& setup);

}  // namespace lowmem::engine
