#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "lowmem/config/run_config.h"
#include "lowmem/engine/gradient_book.h"
#include "lowmem/engine/gradient_stage.h"
#include "lowmem/optim/optimizer.h"
#include "lowmem/weights/home.h"

namespace lowmem::engine {

// One way of a batch forward and backward, and what becomes of its gradients.
struct GradientPass {
  GradientStage* stage = nullptr;  // where the batch's gradients go
  // Whether all micro-batches go through a block before the next one, so that its
  // gradients are complete when it is left; else each goes through the whole model alone.
  bool whole_batch = false;
  // What the gradients' way asks of a group's weights meanwhile.
  weights::Access access = weights::Access::kRead;
};

// The stages of memory.gradients, and the passes that a step takes.
struct GradientChain {
  std::vector<std::unique_ptr<GradientStage>> stages;
  std::vector<GradientPass> passes;
};

// What happens to a gradient the moment it exists. A weight's share of each micro-batch
// is added up first, in fp32 where there are several, in the order of the micro-batches;
// so every policy sees the same numbers.
class Gradients {
 public:
  // `budget`: what shares ranks out, on the CPU, or null.
  Gradients(GradientsMode mode, optim::Optimizer& optimizer, weights::Home& home,
            double clip_norm, weights::RankBudget* budget = nullptr);
  ~Gradients();

  // In their order. A step ends early where finish() says so.
  const std::vector<GradientPass>& passes() const { return chain_.passes; }
  // Whether a gradient's way is the same in every step of one micro-batch, but for
  // numbers that a device keeps.
  bool replays() const { return passes().size() == 1 && passes()[0].whole_batch; }

  void begin(const optim::StepInfo& step, int64_t micro_batches);
  // The step's losses so far, [] double: where they are not finite, nothing is updated.
  void guard(const at::Tensor& loss) { book_->guard(loss); }

  void enter(const GradientPass& pass);
  // One micro-batch's gradient, of the weight's shape and type. Takes it over.
  void take(weights::Weight& weight, at::Tensor gradient);
  // The whole batch's gradient, of the weight's shape, in its type or fp32. Takes it
  // over.
  void take_whole(weights::Weight& weight, ops::MatrixRows gradient);
  // All gradients of a group have come.
  void done(size_t group);
  // Ends the pass. False where the step is over with it: the norm is known not to be
  // finite, and nothing more is updated.
  bool finish();
  // Breaks the step off, with nothing updated beyond what already is.
  void discard();
  // The step is over, however it went.
  void end();

  // Of the step, which a device may still be at work on: every trained weight has been
  // updated once when it is there, unless its gradient is not finite.
  std::unique_ptr<PendingReport> report() { return book_->report(); }

 private:
  class Share;

  std::unique_ptr<GradientBook> book_;
  GradientChain chain_;
  std::unique_ptr<Share> share_;
  weights::RankBudget* budget_;
  int64_t update_ = 0;              // of the run, from 1
  GradientStage* stage_ = nullptr;  // of the pass at hand
};

}  // namespace lowmem::engine
