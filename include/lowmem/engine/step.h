#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "lowmem/engine/activations.h"
#include "lowmem/engine/gradients.h"
#include "lowmem/engine/parameters.h"
#include "lowmem/engine/weights.h"
#include "lowmem/loss/linear_cross_entropy.h"
#include "lowmem/model/llama.h"

namespace lowmem::engine {

// A part of a batch that is in memory at once.
struct MicroBatch {
  model::Packed packed;
  at::Tensor labelled;  // [M] int64: the tokens that have a label
  at::Tensor labels;    // [M] int64: what each of them must predict
  int64_t sequences() const { return static_cast<int64_t>(packed.offsets.size()) - 1; }
};

struct StepResult {
  double loss_sum = 0;  // negative log-likelihood over the labelled tokens
  int64_t sequences = 0, tokens = 0, labelled = 0;
  double grad_norm = 0;  // before clipping
};

// One training step, block by block, with a policy for each thing memory is spent on:
//
//   forward:   h = embed(tokens);  for each block:  keep (policy);  h = block(h)
//   loss:      dh = gradient of linear_cross_entropy(norm(h), head, labels)
//   backward:  for each block from the last:  dh = backward(block, dh), each weight's
//              gradient going to the gradient policy
//
// The loss is the mean over the labelled tokens of the whole batch, however it is cut
// into micro-batches. No policy changes a bit of the result.
class Step {
 public:
  Step(model::Llama& model, Parameters& parameters, Activations& activations,
       Weights& weights, Gradients& gradients, loss::LossOptions loss);
  ~Step();  // takes the hooks off

  StepResult run(std::span<const MicroBatch> batch, const optim::StepInfo& info);

 private:
  struct Walk;  // some micro-batches on their way through the blocks

  void forward(Walk& walk);
  void head(Walk& walk);
  void backward(Walk& walk);
  void finish_head();
  void finish_embedding(std::span<const MicroBatch> batch);

  model::Llama& model_;
  Activations& activations_;
  Weights& weights_;
  Gradients& gradients_;
  loss::LossOptions loss_;
  std::vector<at::Tensor> hooked_;

  optim::ParamSlot* embedding_slot_;  // null where not trained; the head's too where tied
  optim::ParamSlot* head_slot_;
  size_t lowest_trained_;  // blocks below it need no backward pass
  bool norm_trained_;
  float scale_ = 1;                             // 1 / labelled tokens of the batch
  at::ScalarType sum_type_ = at::kFloat;        // of the two gradients below
  at::Tensor head_gradient_;                    // [V, D], over all micro-batches
  std::vector<at::Tensor> embedded_gradients_;  // [N, D] a micro-batch
};

}  // namespace lowmem::engine
