#include <optional>
#include <utility>

#include "gradient_chains.h"

namespace lowmem::engine {
namespace {

// Holds every gradient to the end of the pass; then they are clipped, and applied group
// by group.
class Keep final : public GradientStage {
 public:
  Keep(GradientBook& book, weights::Home& home, double clip_norm)
      : home_(home), apply_(book) {
    if (clip_norm > 0) measure_.emplace(book, clip_norm);
  }

  void take(weights::Weight& weight, ops::MatrixRows gradient) override {
    if (measure_) measure_->take(weight, gradient);
    kept_.emplace_back(&weight, std::move(gradient));
  }

  bool finish() override {
    const bool goes_on = !measure_ || measure_->finish();
    std::optional<weights::Lease> lease;
    for (size_t i = 0; goes_on && i < kept_.size(); ++i) {
      auto& [weight, gradient] = kept_[i];
      if (!lease || lease->group() != weight->spec.group) {
        lease.reset();
        lease.emplace(home_.borrow(weight->spec.group, weights::Access::kWrite));
        expect_after(i);
      }
      apply_.take(*weight, std::exchange(gradient, {}));
    }
    kept_.clear();
    return goes_on;
  }

  void drop() override { kept_.clear(); }

 private:
  // The groups of what is kept behind the i-th.
  void expect_after(size_t i) {
    size_t last = kept_[i].first->spec.group, named = 0;
    for (; i < kept_.size() && named < home_.ahead(); ++i) {
      if (kept_[i].first->spec.group == last) continue;
      last = kept_[i].first->spec.group;
      home_.expect(last, weights::Access::kWrite);
      ++named;
    }
  }

  weights::Home& home_;
  std::optional<Measure> measure_;
  Apply apply_;
  std::vector<std::pair<weights::Weight*, ops::MatrixRows>> kept_;
};

}  // namespace

// memory.gradients = accumulate.
GradientChain make_accumulate(GradientBook& book, weights::Home& home, double clip_norm) {
  GradientChain chain;
  chain.stages.push_back(std::make_unique<Keep>(book, home, clip_norm));
  // Micro-batches share a block's turn where that costs traffic.
  chain.passes.push_back(
      {chain.stages.back().get(), home.streams(), weights::Access::kRead});
  return chain;
}

}  // namespace lowmem::engine
