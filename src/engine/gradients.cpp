#include "lowmem/engine/gradients.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>

#include "gradient_chains.h"
#include "lowmem/memory/scope.h"
#include "lowmem/ops/device.h"
#include "lowmem/ops/large.h"

namespace lowmem::engine {
namespace {

std::unique_ptr<GradientBook> make_book(optim::Optimizer& optimizer, weights::Home& home,
                                        weights::RankBudget* budget) {
  const weights::Table& table = home.table();
  const bool device = std::any_of(table.all().begin(), table.all().end(),
                                  [](const weights::Weight& weight) {
                                    return weight.trained && ops::on_device(weight.here);
                                  });
  return device ? device_book(optimizer, home) : host_book(optimizer, home, budget);
}

GradientChain make_chain(GradientsMode mode, GradientBook& book, weights::Home& home,
                         double clip_norm) {
  switch (mode) {
    case GradientsMode::kAccumulate:
      return make_accumulate(book, home, clip_norm);
    case GradientsMode::kUpdate:
      return make_update(book, clip_norm);
  }
  return {};
}

}  // namespace

// The first stage: a weight's gradients of the micro-batches, added up in their order.
class Gradients::Share {
 public:
  void begin(int64_t micro_batches) {
    micro_batches_ = micro_batches;
    sums_.clear();
  }
  void drop() { sums_.clear(); }

  // The whole batch's gradient where this was the last share, else undefined.
  at::Tensor add(weights::Weight& weight, at::Tensor gradient) {
    if (micro_batches_ == 1) return gradient;
    const memory::Scope item(memory::Item::kGradients);
    Sum& sum = sums_[&weight];
    if (sum.received == 0)
      sum.gradient = ops::converted(gradient, at::kFloat);
    else
      ops::add_to(sum.gradient, gradient);
    if (++sum.received < micro_batches_) return {};
    at::Tensor whole = std::move(sum.gradient);
    sums_.erase(&weight);
    return whole;
  }

 private:
  struct Sum {
    at::Tensor gradient;
    int64_t received = 0;
  };
  int64_t micro_batches_ = 1;
  std::map<weights::Weight*, Sum> sums_;
};

Gradients::Gradients(GradientsMode mode, optim::Optimizer& optimizer, weights::Home& home,
                     double clip_norm, weights::RankBudget* budget)
    : book_(make_book(optimizer, home, budget)),
      chain_(make_chain(mode, *book_, home, clip_norm)),
      share_(std::make_unique<Share>()),
      budget_(budget) {}

Gradients::~Gradients() = default;

void Gradients::begin(const optim::StepInfo& step, int64_t micro_batches) {
  book_->begin(step);
  share_->begin(micro_batches);
  update_ = step.step + 1;
}

void Gradients::enter(const GradientPass& pass) { stage_ = pass.stage; }

void Gradients::take(weights::Weight& weight, at::Tensor gradient) {
  at::Tensor whole = share_->add(weight, std::move(gradient));
  if (whole.defined()) take_whole(weight, std::move(whole));
}

void Gradients::take_whole(weights::Weight& weight, ops::MatrixRows gradient) {
  const at::NoGradGuard no_grad;
  const memory::Scope scope(memory::Phase::kUpdate, memory::Item::kUpdate);
  // Once a step and pass, whatever the micro-batches.
  if (budget_ != nullptr && gradient.is_whole()) {
    at::Tensor whole = gradient.whole();
    budget_->add_orthogonality(weight, whole);
    gradient = std::move(whole);
  }
  stage_->take(weight, std::move(gradient));
}

void Gradients::done(size_t group) { stage_->done(group); }

bool Gradients::finish() {
  const at::NoGradGuard no_grad;
  const memory::Scope scope(memory::Phase::kUpdate, memory::Item::kUpdate);
  return stage_->finish();
}

void Gradients::discard() {
  share_->drop();
  stage_->drop();
}

void Gradients::end() {
  const memory::Scope scope(memory::Phase::kUpdate, memory::Item::kUpdate);
  if (budget_ != nullptr) budget_->allocate(update_);
}

}  // namespace lowmem::engine
