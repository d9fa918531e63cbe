#include "lowmem/engine/gradients.h"

#include <ATen/ATen.h>

#include "lowmem/engine/memory_meter.h"
#include "lowmem/ops/device.h"
#include "lowmem/ops/large.h"
#include "lowmem/ops/rehearsal.h"

namespace lowmem::engine {
namespace {

// Keeps every gradient to the end of the step, where they are clipped and applied.
class Accumulate final : public Gradients {
 public:
  using Gradients::Gradients;
  bool whole_batch_per_block() const override { return false; }

 private:
  void complete(optim::ParamSlot& slot, at::Tensor gradient) override {
    if (clips()) book().measure(slot, gradient);
    complete_.emplace_back(&slot, std::move(gradient));
  }

  void finish() override {
    if (clips() && !clip()) return drop();
    for (auto& [slot, gradient] : complete_) {
      book().update(*slot, gradient);
      gradient.reset();
    }
    drop();
  }

  void drop() override { complete_.clear(); }

  std::vector<std::pair<optim::ParamSlot*, at::Tensor>> complete_;
};

// Applies a gradient as soon as it is complete, inside the backward pass, and frees it.
// Lv et al. 2023, "Full Parameter Fine-tuning for Large Language Models with Limited
// Resources" (LOMO). Clipping by the norm of all of them takes a backward pass of its own
// before, in which each is measured and freed.
class Update final : public Gradients {
 public:
  using Gradients::Gradients;
  bool whole_batch_per_block() const override { return true; }
  bool measures_first() const override { return clips(); }

 private:
  void complete(optim::ParamSlot& slot, at::Tensor gradient) override {
    if (measuring_)
      book().measure(slot, gradient);
    else
      book().update(slot, gradient);
  }
  void finish() override {}
  void drop() override {}
};

}  // namespace

void Gradients::open(const Parameters& parameters) {
  const auto& slots = parameters.slots();
  if (!slots.empty() && ops::on_device(slots.front().param))
    book_ = device_book(optimizer_, parameters);
}

void Gradients::begin(const optim::StepInfo& step, int64_t micro_batches) {
  book_->begin(step);
  micro_batches_ = micro_batches;
  measuring_ = measures_first();
}

void Gradients::receive(optim::ParamSlot& slot, at::Tensor gradient) {
  if (micro_batches_ == 1) return receive_whole(slot, std::move(gradient));
  const ops::ItemScope item(ops::Item::kGradients);
  Share& share = shares_[&slot];
  if (share.received == 0)
    share.sum = ops::converted(gradient, at::kFloat);
  else
    ops::add_to(share.sum, gradient);
  if (++share.received < micro_batches_) return;
  at::Tensor sum = std::move(share.sum);
  shares_.erase(&slot);
  gradient.reset();
  receive_whole(slot, std::move(sum));
}

void Gradients::receive_whole(optim::ParamSlot& slot, at::Tensor gradient) {
  const at::NoGradGuard no_grad;
  const PhaseScope phase(Phase::kUpdate);
  const ops::ItemScope item(ops::Item::kUpdate);
  complete(slot, std::move(gradient));
}

bool Gradients::end_measuring() {
  measuring_ = false;
  return clip();
}

std::unique_ptr<PendingReport> Gradients::end() {
  const PhaseScope phase(Phase::kUpdate);
  const ops::ItemScope item(ops::Item::kUpdate);
  finish();
  return book_->report();
}

void Gradients::discard() {
  shares_.clear();
  drop();
}

std::unique_ptr<Gradients> make_gradients(GradientsMode mode, optim::Optimizer& optimizer,
                                          double clip_norm) {
  switch (mode) {
    case GradientsMode::kAccumulate:
      return std::make_unique<Accumulate>(optimizer, clip_norm);
    case GradientsMode::kUpdate:
      return std::make_unique<Update>(optimizer, clip_norm);
  }
  return nullptr;
}

}  // namespace lowmem::engine
