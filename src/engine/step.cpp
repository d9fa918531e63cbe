#include "lowmem/engine/step.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>

#include "gradient_hook.h"
#include "lowmem/engine/memory_meter.h"
#include "lowmem/ops/embedding.h"
#include "lowmem/ops/large.h"
#include "lowmem/ops/rehearsal.h"

namespace lowmem::engine {

struct Step::Walk {
  std::span<const MicroBatch> batches;
  std::vector<at::Tensor> hidden;              // a micro-batch: h forward, dh backward
  std::vector<std::vector<SavedBlock>> saved;  // [micro-batch][block]
  at::Tensor loss_sum;                         // [] double
};

namespace {

// A device's numbers are not known before it gets there: it goes on, and writes nothing.
bool known_not_finite(const at::Tensor& number) {
  return !ops::on_device(number) && !ops::rehearsing() &&
         !std::isfinite(number.item<double>());
}

}  // namespace

StepResult PendingStep::wait() {
  StepResult result = std::move(result_);
  result.loss_sum = loss_sum_.wait().item<double>();
  result.gradients = gradients_->wait();
  return result;
}

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
  gradients.open(parameters);
}

Step::~Step() {
  for (const at::Tensor& weight : hooked_)
    torch::autograd::impl::set_post_acc_grad_hooks(weight, nullptr);
}

PendingStep Step::begin(std::span<const MicroBatch> batch, const optim::StepInfo& info) {
  const at::NoGradGuard no_grad;
  StepResult result;
  for (const MicroBatch& part : batch) {
    result.sequences += part.packed.sequences();
    result.tokens += part.packed.tokens();
    result.labelled += part.labels.size(0);
  }
  scale_ = 1.0f / static_cast<float>(std::max<int64_t>(1, result.labelled));

  gradients_.begin(info, static_cast<int64_t>(batch.size()));
  const at::Tensor loss_sum = pass(batch);
  if (known_not_finite(loss_sum))
    gradients_.discard();
  else if (gradients_.measures_first() && gradients_.end_measuring())
    pass(batch);
  return {std::move(result), loss_sum, gradients_.end()};
}

// All micro-batches forward and backward. Returns their losses' sum; where that is known
// not to be finite, the pass has stopped early.
at::Tensor Step::pass(std::span<const MicroBatch> batch) {
  at::Tensor loss_sum =
      at::zeros({}, at::TensorOptions(at::kDouble).device(model_.device()));
  const size_t together = gradients_.whole_batch_per_block() ? batch.size() : 1;
  for (size_t at = 0; at < batch.size(); at += together) {
    Walk walk{batch.subspan(at, together), {}, {}, at::zeros_like(loss_sum)};
    forward(walk);
    head(walk);
    loss_sum += walk.loss_sum;
    if (known_not_finite(loss_sum)) break;
    gradients_.guard(loss_sum);
    if (at + together >= batch.size()) finish_head();
    backward(walk);
  }
  if (!known_not_finite(loss_sum)) finish_embedding(batch);
  head_rows_.clear();
  embedded_gradients_.clear();
  return loss_sum;
}

BlockCall Step::call(const Walk& walk, size_t block, size_t micro_batch) const {
  const MicroBatch& part = walk.batches[micro_batch];
  return {*model_.blocks()[block],
          part.packed,
          block + 1 == model_.blocks().size() ? &part.rows : nullptr,
          block > lowest_trained_ || embedding_slot_ != nullptr,
          block == 0 ? &model_ : nullptr,
          gradients_.replayable()};
}

void Step::forward(Walk& walk) {
  const PhaseScope phase(Phase::kForward);
  const ops::ItemScope item(ops::Item::kKept);
  for (const MicroBatch& part : walk.batches) {
    walk.hidden.push_back(model_.embed(part.packed.ids));
    walk.saved.emplace_back(model_.blocks().size());
  }
  for (size_t block = 0; block < model_.blocks().size(); ++block) {
    weights_.acquire(block);
    for (size_t i = 0; i < walk.batches.size(); ++i) {
      const BlockCall call = this->call(walk, block, i);
      walk.hidden[i] =
          block < lowest_trained_
              ? call.block.forward(walk.hidden[i], call.packed, call.rows)
              : activations_.forward(call, walk.hidden[i], walk.saved[i][block]);
    }
    weights_.release(block);
  }
}

// Turns each micro-batch's hidden states, which are those of labelled tokens, into their
// gradient.
void Step::head(Walk& walk) {
  const PhaseScope phase(Phase::kBackward);
  const ops::ItemScope item(ops::Item::kLoss);
  const bool blocks_trained = lowest_trained_ < model_.blocks().size();
  const bool wants_hidden = norm_trained_ || blocks_trained;
  for (size_t i = 0; i < walk.batches.size(); ++i) {
    const at::Tensor rows =
        std::exchange(walk.hidden[i], {}).detach().set_requires_grad(blocks_trained);
    at::Tensor normed;
    {
      const at::AutoGradMode with_graph(wants_hidden);
      normed = model_.norm(rows);
    }
    const loss::LossRequest request{normed.detach(), model_.head(),
                                    walk.batches[i].labels, scale_};
    loss::Loss loss = loss::linear_cross_entropy(request, wants_hidden, loss_);
    walk.loss_sum += loss.sum;
    if (known_not_finite(loss.sum)) return;
    if (head_slot_ != nullptr)
      head_rows_.push_back({request.hidden, request.labels, loss.log_sum_exp});
    if (wants_hidden)
      torch::autograd::backward({normed}, {std::move(loss.hidden_gradient)});
    if (blocks_trained) walk.hidden[i] = rows.grad();
  }
}

void Step::backward(Walk& walk) {
  const PhaseScope phase(Phase::kBackward);
  const ops::ItemScope item(ops::Item::kBlock);
  for (size_t block = model_.blocks().size(); block-- > lowest_trained_;) {
    weights_.acquire(block);
    for (size_t i = 0; i < walk.batches.size(); ++i)
      walk.hidden[i] = activations_.backward(
          call(walk, block, i), std::exchange(walk.hidden[i], {}), walk.saved[i][block]);
    weights_.release(block);
  }
  if (embedding_slot_ != nullptr)
    for (at::Tensor& gradient : walk.hidden) embedded_gradients_.push_back(gradient);
}

// The gradient of the whole batch by the head, [V, D], made in one go: nothing of its
// size has to be added up.
at::Tensor Step::take_head_gradient() {
  std::vector<at::Tensor> hidden, labels, log_sum_exp;
  for (HeadRows& rows : head_rows_) {
    hidden.push_back(rows.hidden);
    labels.push_back(rows.labels);
    log_sum_exp.push_back(rows.log_sum_exp);
  }
  head_rows_.clear();
  return loss::head_gradient({at::cat(hidden), model_.head(), at::cat(labels), scale_},
                             at::cat(log_sum_exp), loss_);
}

// A head of its own has its gradient as soon as the last micro-batch has left it.
void Step::finish_head() {
  if (head_slot_ == nullptr || head_slot_ == embedding_slot_) return;
  const PhaseScope phase(Phase::kBackward);
  const ops::ItemScope item(ops::Item::kLoss);
  gradients_.receive_whole(*head_slot_, take_head_gradient());
}

// The table's gradient comes last, after all micro-batches, and with it a tied head's:
// one tensor for both.
void Step::finish_embedding(std::span<const MicroBatch> batch) {
  if (embedding_slot_ == nullptr) return;
  const PhaseScope phase(Phase::kBackward);
  const ops::ItemScope item(ops::Item::kGradients);
  std::vector<ops::EmbeddedTokens> parts;
  for (size_t i = 0; i < batch.size(); ++i)
    parts.push_back({batch[i].packed.host_ids, std::move(embedded_gradients_[i])});
  at::Tensor table =
      head_slot_ == embedding_slot_
          ? take_head_gradient()
          : ops::zeros(model_.embedding().sizes(), model_.embedding().options());
  ops::add_embedding_gradient(table, std::move(parts));
  gradients_.receive_whole(*embedding_slot_, std::move(table));
}

}  // namespace lowmem::engine
