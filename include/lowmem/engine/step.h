#pragma once

#include <ATen/core/Tensor.h>

#include <cmath>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "lowmem/engine/activations.h"
#include "lowmem/engine/gradients.h"
#include "lowmem/engine/walk.h"
#include "lowmem/loss/linear_cross_entropy.h"
#include "lowmem/model/llama.h"
#include "lowmem/ops/device.h"

namespace lowmem::engine {

// A part of a batch that is in memory at once.
struct MicroBatch {
  model::Packed packed;
  model::Rows rows;   // the tokens that have a label, M of them
  at::Tensor labels;  // [M] int64: what each of them must predict
};

struct StepResult {
  int64_t sequences = 0, tokens = 0, labelled = 0;
  double loss_sum = 0;  // negative log-likelihood over the labelled tokens
  GradientReport gradients;
  // Where the loss is not finite, the step has changed nothing.
  bool finite_loss() const { return std::isfinite(loss_sum); }
};

// A step that a device may still be at work on.
class PendingStep {
 public:
  PendingStep(StepResult counts, const at::Tensor& loss_sum,
              std::unique_ptr<PendingReport> gradients)
      : result_(std::move(counts)),
        loss_sum_(loss_sum),
        gradients_(std::move(gradients)) {}

  // What it came to. Waits for the step, and for nothing that was begun after it.
  StepResult wait();

 private:
  StepResult result_;
  ops::HostCopy loss_sum_;
  std::unique_ptr<PendingReport> gradients_;
};

// One training step, block by block, with a policy for each thing memory is spent on:
//
//   forward:   h = embed(tokens);  for each block:  keep (policy);  h = block(h)
//   loss:      dh = gradient of linear_cross_entropy(norm(h), head, labels)
//   backward:  for each block from the last:  dh = backward(block, dh), each weight's
//              gradient going to the gradient policy
//
// Of the last block only the labelled tokens' outputs are made. The loss is the mean over
// the labelled tokens of the whole batch, however it is cut into micro-batches. No policy
// changes a bit of the result.
class Step {
 public:
  // What of the walk's weights is trained is settled (weights::select()).
  Step(const Walk& walk, Activations& activations, Gradients& gradients,
       loss::LossOptions loss);
  ~Step();  // takes the hooks off

  // On the CPU the step is over when this returns.
  PendingStep begin(std::span<const MicroBatch> batch, const optim::StepInfo& info);
  StepResult run(std::span<const MicroBatch> batch, const optim::StepInfo& info) {
    return begin(batch, info).wait();
  }

 private:
  struct Journey;  // some micro-batches on their way through the blocks
  // What the head's gradient is made of: a micro-batch's labelled rows after the norm.
  struct HeadRows {
    at::Tensor hidden, labels, log_sum_exp;
  };

  at::Tensor pass(std::span<const MicroBatch> batch, const GradientPass& pass);
  void forward(Journey& journey);
  void head(Journey& journey);
  void backward(Journey& journey);
  BlockCall call(const Journey& journey, size_t block, size_t micro_batch) const;
  ops::MatrixRows take_head_gradient();
  void finish_embedding(std::span<const MicroBatch> batch, const GradientPass& pass);

  const Walk& walk_;
  const model::Llama& model_;
  Activations& activations_;
  Gradients& gradients_;
  loss::LossOptions loss_;
  std::vector<at::Tensor> hooked_;

  weights::Weight* embedding_;  // null where not trained; the head's too where tied
  weights::Weight* head_;
  size_t lowest_trained_;  // blocks below it need no backward pass
  bool norm_trained_;
  float scale_ = 1;                  // 1 / labelled tokens of the batch
  std::vector<HeadRows> head_rows_;  // a micro-batch, where the head is trained
  std::vector<at::Tensor> embedded_gradients_;  // [N, D] a micro-batch
};

}  // namespace lowmem::engine
