#include "lowmem/engine/gradients.h"

#include <ATen/ATen.h>

#include <cmath>

#include "lowmem/engine/memory_meter.h"
#include "lowmem/ops/elements.h"

namespace lowmem::engine {
namespace {

// Keeps every gradient to the end of the step, where they are clipped and applied.
class Accumulate final : public Gradients {
 public:
  using Gradients::Gradients;
  bool whole_batch_per_block() const override { return false; }

 private:
  void complete(optim::ParamSlot& slot, at::Tensor gradient) override {
    if (clip_norm_ > 0) measure(slot, gradient);
    complete_.emplace_back(&slot, std::move(gradient));
  }

  void finish() override {
    if (clip_norm_ > 0 && !clip()) return drop();
    for (auto& [slot, gradient] : complete_) {
      update(*slot, gradient);
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
  bool measures_first() const override { return clip_norm_ > 0; }

 private:
  void complete(optim::ParamSlot& slot, at::Tensor gradient) override {
    if (measuring_)
      measure(slot, gradient);
    else
      update(slot, gradient);
  }
  void finish() override {}
  void drop() override {}
};

}  // namespace

void Gradients::begin(const optim::StepInfo& step, int64_t micro_batches) {
  step_ = step;
  micro_batches_ = micro_batches;
  squared_norm_ = 0;
  report_ = {};
  measuring_ = measures_first();
}

void Gradients::receive(optim::ParamSlot& slot, at::Tensor gradient) {
  if (micro_batches_ == 1) return receive_whole(slot, std::move(gradient));
  Share& share = shares_[&slot];
  if (share.received == 0)
    share.sum = gradient.to(at::kFloat);
  else
    share.sum.add_(gradient);
  if (++share.received < micro_batches_) return;
  at::Tensor sum = std::move(share.sum);
  shares_.erase(&slot);
  gradient.reset();
  receive_whole(slot, std::move(sum));
}

void Gradients::receive_whole(optim::ParamSlot& slot, at::Tensor gradient) {
  const at::NoGradGuard no_grad;
  const PhaseScope phase(Phase::kUpdate);
  complete(slot, std::move(gradient));
}

bool Gradients::end_measuring() {
  measuring_ = false;
  return clip();
}

GradientReport Gradients::end() {
  const PhaseScope phase(Phase::kUpdate);
  finish();
  report_.norm = std::sqrt(squared_norm_);
  return std::move(report_);
}

void Gradients::discard() {
  shares_.clear();
  drop();
}

void Gradients::measure(const optim::ParamSlot& slot, const at::Tensor& gradient) {
  const double squares = ops::squared_norm(gradient.contiguous());
  if (optim::UpdateResult::is_finite(squares))
    squared_norm_ += squares;
  else
    report_.nonfinite.push_back(slot.name);
}

bool Gradients::clip() {
  if (!report_.nonfinite.empty()) return false;
  const double norm = std::sqrt(squared_norm_);
  step_.grad_scale = static_cast<float>(std::min(1.0, clip_norm_ / (norm + 1e-6)));
  return true;
}

void Gradients::update(optim::ParamSlot& slot, const at::Tensor& gradient) {
  const optim::UpdateResult result = optimizer_.update(slot, gradient, step_);
  if (!result.finite()) {
    report_.nonfinite.push_back(slot.name);
    return;
  }
  if (clip_norm_ == 0) squared_norm_ += result.squared_norm;
  report_.rounding += result.rounding;
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
