#include "lowmem/engine/step.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include "gradient_hook.h"
#include "lowmem/engine/memory_meter.h"

namespace lowmem::engine {

struct Step::Walk {
  std::span<const MicroBatch> batches;
  std::vector<at::Tensor> hidden;              // a micro-batch: h forward, dh backward
  std::vector<std::vector<SavedBlock>> saved;  // [micro-batch][block]
  double loss_sum = 0;
};

Step::Step(model::Llama& model, Parameters& parameters, Activations& activations,
           Weights& weights, Gradients& gradients, loss::LossOptions loss)
    : model_(model),
      activations_(activations),
      weights_(weights),
      gradients_(gradients),
      loss_(loss),
      embedding_slot_(parameters.find(model.embedding())),
      head_slot_(parameters.find(model.head())),
      lowest_trained_(model.blocks().size()),
      norm_trained_(false) {
  for (optim::ParamSlot& slot : parameters.slots()) {
    if (&slot == embedding_slot_ || &slot == head_slot_) continue;  // not by autograd
    torch::autograd::impl::set_post_acc_grad_hooks(
        slot.param, std::make_unique<GradientHook>(gradients, slot));
    hooked_.push_back(slot.param);
  }
  for (size_t i = model.blocks().size(); i-- > 0;)
    for (const at::Tensor& weight : model.blocks()[i]->parameters())
      if (weight.requires_grad()) lowest_trained_ = i;
  if (embedding_slot_ != nullptr) lowest_trained_ = 0;
  norm_trained_ = model.norm_weight().requires_grad();
}

Step::~Step() {
  for (const at::Tensor& weight : hooked_)
    torch::autograd::impl::set_post_acc_grad_hooks(weight, nullptr);
}

StepResult Step::run(std::span<const MicroBatch> batch, const optim::StepInfo& info) {
  const at::NoGradGuard no_grad;
  StepResult result;
  for (const MicroBatch& part : batch) {
    result.sequences += part.sequences();
    result.tokens += part.packed.tokens();
    result.labelled += part.labels.size(0);
  }
  scale_ = 1.0f / static_cast<float>(std::max<int64_t>(1, result.labelled));

  // Several micro-batches add up in fp32; one needs no sum.
  sum_type_ = batch.size() > 1 ? at::kFloat : model_.options().weights;
  gradients_.begin(info, static_cast<int64_t>(batch.size()));
  const size_t together = gradients_.whole_batch_per_block() ? batch.size() : 1;
  for (size_t at = 0; at < batch.size(); at += together) {
    Walk walk{batch.subspan(at, together), {}, {}, 0};
    forward(walk);
    head(walk);
    if (at + together >= batch.size()) finish_head();
    backward(walk);
    result.loss_sum += walk.loss_sum;
  }
  finish_embedding(batch);
  result.grad_norm = gradients_.end();
  return result;
}

void Step::forward(Walk& walk) {
  const PhaseScope phase(Phase::kForward);
  for (const MicroBatch& part : walk.batches) {
    walk.hidden.push_back(model_.embed(part.packed.ids));
    walk.saved.emplace_back(model_.blocks().size());
  }
  for (size_t block = 0; block < model_.blocks().size(); ++block) {
    weights_.acquire(block);
    for (size_t i = 0; i < walk.batches.size(); ++i) {
      const bool below = block > lowest_trained_ || embedding_slot_ != nullptr;
      walk.hidden[i] =
          block < lowest_trained_
              ? model_.blocks()[block]->forward(walk.hidden[i], walk.batches[i].packed)
              : activations_.forward(*model_.blocks()[block], walk.hidden[i],
                                     walk.batches[i].packed, below, walk.saved[i][block]);
    }
    weights_.release(block);
  }
}

// Turns each micro-batch's hidden states into their gradient. Only labelled rows reach
// the norm and the head.
void Step::head(Walk& walk) {
  const PhaseScope phase(Phase::kBackward);
  const bool wants_hidden = norm_trained_ || lowest_trained_ < model_.blocks().size();
  if (head_slot_ != nullptr && !head_gradient_.defined())
    head_gradient_ = at::zeros_like(model_.head(), sum_type_);
  for (size_t i = 0; i < walk.batches.size(); ++i) {
    const MicroBatch& part = walk.batches[i];
    const at::Tensor rows =
        walk.hidden[i]
            .index_select(0, part.labelled)
            .set_requires_grad(lowest_trained_ < model_.blocks().size());
    at::Tensor normed;
    {
      const at::AutoGradMode with_graph(wants_hidden);
      normed = model_.norm(rows);
    }
    const loss::Loss loss =
        loss::linear_cross_entropy({normed.detach(), model_.head(), part.labels, scale_,
                                    wants_hidden, head_gradient_},
                                   loss_);
    walk.loss_sum += loss.sum;
    if (wants_hidden) torch::autograd::backward({normed}, {loss.hidden_gradient});
    if (rows.requires_grad())
      walk.hidden[i] =
          at::zeros_like(walk.hidden[i]).index_copy_(0, part.labelled, rows.grad());
  }
}

void Step::backward(Walk& walk) {
  const PhaseScope phase(Phase::kBackward);
  for (size_t block = model_.blocks().size(); block-- > lowest_trained_;) {
    weights_.acquire(block);
    for (size_t i = 0; i < walk.batches.size(); ++i)
      walk.hidden[i] =
          activations_.backward(*model_.blocks()[block], walk.hidden[i],
                                walk.batches[i].packed, walk.saved[i][block]);
    weights_.release(block);
  }
  if (embedding_slot_ != nullptr)
    for (at::Tensor& gradient : walk.hidden) embedded_gradients_.push_back(gradient);
}

// A head of its own has its gradient as soon as the last micro-batch has left it.
void Step::finish_head() {
  if (head_slot_ != nullptr && head_slot_ != embedding_slot_)
    gradients_.receive_whole(*head_slot_, std::exchange(head_gradient_, {}));
}

// The table's rows are added last, after all micro-batches of a tied head, so that the
// order of the additions is the same whichever way the micro-batches went. Each token's
// rows are summed in fp32 first: in bf16 a frequent token's sum would stand still.
void Step::finish_embedding(std::span<const MicroBatch> batch) {
  if (embedding_slot_ == nullptr) return;
  const PhaseScope phase(Phase::kBackward);
  at::Tensor gradient = head_slot_ == embedding_slot_
                            ? std::exchange(head_gradient_, {})
                            : at::zeros_like(model_.embedding(), sum_type_);
  for (size_t i = 0; i < batch.size(); ++i) {
    const auto [ids, place] =
        at::_unique(batch[i].packed.ids, /*sorted=*/true, /*return_inverse=*/true);
    const at::Tensor rows =
        at::zeros({ids.size(0), gradient.size(1)}, gradient.options().dtype(at::kFloat))
            .index_add_(0, place, embedded_gradients_[i].to(at::kFloat));
    gradient.index_add_(0, ids, rows.to(gradient.scalar_type()));
  }
  embedded_gradients_.clear();
  gradients_.receive_whole(*embedding_slot_, std::move(gradient));
}

}  // namespace lowmem::engine
