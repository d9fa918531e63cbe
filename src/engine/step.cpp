#include "lowmem/engine/step.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>

#include "edge_gradients.h"
#include "gradient_hook.h"
#include "lowmem/memory/rehearsal.h"
#include "lowmem/ops/embedding.h"
#include "lowmem/ops/large.h"

namespace lowmem::engine {

struct Step::Journey {
  std::span<const MicroBatch> batches;
  const GradientPass& pass;
  bool last = false;                           // of the pass: all others have arrived
  std::vector<at::Tensor> hidden;              // a micro-batch: h forward, dh backward
  std::vector<std::vector<SavedBlock>> saved;  // [micro-batch][block]
  at::Tensor loss_sum;                         // [] double
};

namespace {

using memory::Item, memory::Phase;

// A device's numbers are not known before it gets there: it goes on, and writes nothing.
bool known_not_finite(const at::Tensor& number) {
  return !ops::on_device(number) && !memory::rehearsing() &&
         !std::isfinite(number.item<double>());
}

// The trained weight that a tensor of the model is; null: not trained.
weights::Weight* trained(weights::Table& table, const at::Tensor& tensor) {
  for (weights::Weight& weight : table.all())
    if (weight.trained && weight.here.is_same(tensor)) return &weight;
  return nullptr;
}

}  // namespace

StepResult PendingStep::wait() {
  StepResult result = std::move(result_);
  result.loss_sum = loss_sum_.wait().item<double>();
  result.gradients = gradients_->wait();
  return result;
}

Step::Step(const Walk& walk, Activations& activations, Gradients& gradients,
           loss::LossOptions loss)
    : walk_(walk),
      model_(walk.model()),
      activations_(activations),
      gradients_(gradients),
      loss_(loss),
      embedding_(trained(model_.table(), model_.embedding())),
      head_(trained(model_.table(), model_.head())),
      lowest_trained_(walk.blocks()),
      norm_trained_(false) {
  weights::Table& table = model_.table();
  for (weights::Weight& weight : table.all()) {
    if (!weight.trained || &weight == embedding_ || &weight == head_) continue;
    torch::autograd::impl::set_post_acc_grad_hooks(
        weight.here, std::make_unique<GradientHook>(gradients, weight));
    hooked_.push_back(weight.here);
    if (weight.spec.group == table.top()) norm_trained_ = true;
  }
  for (size_t block = walk.blocks(); block-- > 0;)
    if (table.trains(block + 1)) lowest_trained_ = block;
  if (embedding_ != nullptr) lowest_trained_ = 0;
}

// The hooks that the constructor put on.
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

  at::Tensor loss_sum;
  gradients_.begin(info, static_cast<int64_t>(batch.size()));
  for (const GradientPass& pass : gradients_.passes()) {
    gradients_.enter(pass);
    loss_sum = this->pass(batch, pass);
    if (known_not_finite(loss_sum)) {
      gradients_.discard();
      break;
    }
    if (!gradients_.finish()) break;
  }
  gradients_.end();
  return {std::move(result), loss_sum, gradients_.report()};
}

// All micro-batches forward and backward. Returns their losses' sum; where that is known
// not to be finite, the pass has stopped early.
at::Tensor Step::pass(std::span<const MicroBatch> batch, const GradientPass& pass) {
  at::Tensor loss_sum =
      at::zeros({}, at::TensorOptions(at::kDouble).device(model_.device()));
  const size_t together = pass.whole_batch ? batch.size() : 1;
  for (size_t at = 0; at < batch.size(); at += together) {
    Journey journey{
        batch.subspan(at, together), pass, at + together >= batch.size(), {}, {},
        at::zeros_like(loss_sum)};
    forward(journey);
    head(journey);
    loss_sum += journey.loss_sum;
    if (known_not_finite(loss_sum)) break;
    gradients_.guard(loss_sum);
    backward(journey);
  }
  if (!known_not_finite(loss_sum)) finish_embedding(batch, pass);
  head_rows_.clear();
  embedded_gradients_.clear();
  return loss_sum;
}

BlockCall Step::call(const Journey& journey, size_t block, size_t micro_batch) const {
  const MicroBatch& part = journey.batches[micro_batch];
  BlockCall call{.block = *model_.blocks()[block], .index = block, .packed = part.packed};
  if (block + 1 == walk_.blocks()) call.rows = &part.rows;
  call.input_gradient = block > lowest_trained_ || embedding_ != nullptr;
  call.micro_batch = micro_batch;
  call.micro_batches = journey.batches.size();
  if (block == 0)
    call.input_again = [this, &part] { return walk_.embed(part.packed.ids); };
  return call;
}

void Step::forward(Journey& journey) {
  const memory::Scope scope(Phase::kForward, Item::kKept);
  walk_.expect_up();
  for (const MicroBatch& part : journey.batches) {
    journey.hidden.push_back(walk_.embed(part.packed.ids));
    journey.saved.emplace_back(walk_.blocks());
  }
  walk_.up([&](size_t block) {
    for (size_t i = 0; i < journey.batches.size(); ++i) {
      const BlockCall call = this->call(journey, block, i);
      at::Tensor& hidden = journey.hidden[i];
      hidden = block < lowest_trained_
                   ? call.block.forward(hidden, call.packed, call.rows)
                   : activations_.forward(call, hidden, journey.saved[i][block]);
    }
  });
}

// Turns each micro-batch's hidden states, which are those of labelled tokens, into their
// gradient. What is above the blocks is done with when the last micro-batch has left it:
// a head of its own then has its gradient.
void Step::head(Journey& journey) {
  const memory::Scope scope(Phase::kBackward, Item::kLoss);
  const bool blocks_trained = lowest_trained_ < walk_.blocks();
  const bool wants_hidden = norm_trained_ || blocks_trained;
  const auto leases = walk_.borrow_top(journey.pass.access);
  for (size_t i = 0; i < journey.batches.size(); ++i) {
    const at::Tensor rows =
        std::exchange(journey.hidden[i], {}).detach().set_requires_grad(blocks_trained);
    at::Tensor normed;
    {
      const at::AutoGradMode with_graph(wants_hidden);
      normed = model_.norm(rows);
    }
    const loss::LossRequest request{normed.detach(), walk_.head(),
                                    journey.batches[i].labels, scale_};
    loss::Loss loss = loss::linear_cross_entropy(request, wants_hidden, loss_);
    journey.loss_sum += loss.sum;
    if (known_not_finite(loss.sum)) return;
    if (head_ != nullptr)
      head_rows_.push_back({request.hidden, request.labels, loss.log_sum_exp});
    if (wants_hidden)
      torch::autograd::backward({normed}, {std::move(loss.hidden_gradient)});
    if (blocks_trained) journey.hidden[i] = rows.grad();
  }
}

void Step::backward(Journey& journey) {
  const memory::Scope scope(Phase::kBackward, Item::kBlock);
  if (journey.last) {
    if (head_ != nullptr && head_ != embedding_) {
      const memory::Scope item(Item::kLoss);
      const auto leases = walk_.borrow_top(journey.pass.access);
      gradients_.take_whole(*head_, take_head_gradient());
    }
    gradients_.done(model_.table().top());
  }
  walk_.down(lowest_trained_, journey.pass.access, [&](size_t block) {
    for (size_t i = 0; i < journey.batches.size(); ++i)
      journey.hidden[i] = activations_.backward(call(journey, block, i),
                                                std::exchange(journey.hidden[i], {}),
                                                journey.saved[i][block]);
    if (journey.last) gradients_.done(block + 1);
  });
  if (embedding_ != nullptr)
    for (at::Tensor& gradient : journey.hidden) {
      const double times = model_.config().embedding_multiplier;
      embedded_gradients_.push_back(times == 1 ? gradient : gradient.mul_(times));
    }
}

// The gradient of the whole batch by the head, [V, D], made in one go: nothing of its
// size has to be added up.
ops::MatrixRows Step::take_head_gradient() {
  std::vector<at::Tensor> hidden, labels, log_sum_exp;
  for (HeadRows& rows : head_rows_) {
    hidden.push_back(rows.hidden);
    labels.push_back(rows.labels);
    log_sum_exp.push_back(rows.log_sum_exp);
  }
  head_rows_.clear();
  const loss::LossRequest request{at::cat(hidden), head_->here, at::cat(labels), scale_};
  const at::Tensor known = at::cat(log_sum_exp);
  if (!head_->by_rows) return loss::head_gradient(request, known, loss_);
  return {head_->here, head_gradient_by_rows(request, known, loss_)};
}

// The table's gradient comes last, after all micro-batches, and with it a tied head's:
// one tensor for both.
void Step::finish_embedding(std::span<const MicroBatch> batch, const GradientPass& pass) {
  if (embedding_ == nullptr) return;
  const memory::Scope scope(Phase::kBackward, Item::kGradients);
  const weights::Lease lease = walk_.home().borrow(0, pass.access);
  std::vector<ops::EmbeddedTokens> parts;
  for (size_t i = 0; i < batch.size(); ++i)
    parts.push_back({batch[i].packed.host_ids, std::move(embedded_gradients_[i])});
  const at::Tensor& weight = embedding_->here;
  ops::MatrixRows gradient;
  if (head_ == embedding_) gradient = take_head_gradient();
  if (embedding_->by_rows) {
    gradient = {weight,
                embedding_gradient_by_rows(weight, gradient.source(), std::move(parts))};
  } else {
    at::Tensor table = head_ == embedding_ ? gradient.whole()
                                           : ops::zeros(weight.sizes(), weight.options());
    gradient = {};
    ops::add_embedding_gradient(table, std::move(parts));
    gradient = std::move(table);
  }
  gradients_.take_whole(*embedding_, std::move(gradient));
  gradients_.done(0);
}

}  // namespace lowmem::engine
