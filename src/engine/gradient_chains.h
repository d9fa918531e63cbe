#pragma once

#include "lowmem/engine/gradients.h"

namespace lowmem::engine {

// The chains, one a file, as memory.gradients names them.
GradientChain make_accumulate(GradientBook& book, weights::Home& home, double clip_norm);
GradientChain make_update(GradientBook& book, double clip_norm);

// Updates a weight the moment its gradient comes, and frees that.
class Apply final : public GradientStage {
 public:
  explicit Apply(GradientBook& book) : book_(book) {}
  void take(weights::Weight& weight, ops::MatrixRows gradient) override {
    book_.update(weight, gradient);
  }

 private:
  GradientBook& book_;
};

// Adds a gradient to the norm and frees it. The norm then scales what comes next.
class Measure final : public GradientStage {
 public:
  Measure(GradientBook& book, double clip_norm) : book_(book), clip_norm_(clip_norm) {}
  void take(weights::Weight& weight, ops::MatrixRows gradient) override {
    book_.measure(weight, gradient);
  }
  bool finish() override { return book_.clip(clip_norm_); }

 private:
  GradientBook& book_;
  double clip_norm_;
};

}  // namespace lowmem::engine
