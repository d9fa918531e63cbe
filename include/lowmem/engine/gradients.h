#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "lowmem/config/run_config.h"
#include "lowmem/engine/gradient_book.h"
#include "lowmem/optim/optimizer.h"

namespace lowmem::engine {

// The policy for gradients: what happens to one the moment it exists. A parameter's share
// of each micro-batch is added up first, in fp32 where there are several, in the order of
// the micro-batches; so every policy sees the same numbers.
class Gradients {
 public:
  Gradients(optim::Optimizer& optimizer, double clip_norm)
      : optimizer_(optimizer), clip_norm_(clip_norm), book_(host_book(optimizer)) {}
  virtual ~Gradients() = default;

  // Whether a parameter's gradient should be complete before the next block's begins: the
  // driver then takes all micro-batches through a block before it goes on to the next.
  virtual bool whole_batch_per_block() const = 0;
  // Whether the step needs a backward pass of its own for the norm, before the one that
  // updates.
  virtual bool measures_first() const { return false; }

  // Before the first step: the parameters whose gradients will come, which may be on a
  // device.
  void open(const Parameters& parameters);

  // Whether a gradient's way is the same in every step, but for numbers that the device
  // keeps.
  bool replayable() const {
    return whole_batch_per_block() && !measures_first() && micro_batches_ == 1;
  }

  void begin(const optim::StepInfo& step, int64_t micro_batches);
  // The step's losses so far, [] double: where they are not finite, nothing is updated.
  void guard(const at::Tensor& loss) { book_->guard(loss); }
  // One micro-batch's gradient, of the parameter's shape and type. Takes it over.
  void receive(optim::ParamSlot& slot, at::Tensor gradient);
  // The whole batch's gradient, of the parameter's shape, in its type or fp32. Takes it
  // over.
  void receive_whole(optim::ParamSlot& slot, at::Tensor gradient);
  // Ends a pass that measured: the next one updates. False if the norm is known not to be
  // finite; the step is then over, with nothing updated.
  bool end_measuring();
  // Ends the step: every trained parameter has been updated once when this returns, or
  // when the device gets there, unless its gradient is not finite.
  std::unique_ptr<PendingReport> end();
  // Ends the step with nothing updated beyond what already is.
  void discard();

 protected:
  // Called once a parameter and pass, in the order in which gradients are complete.
  virtual void complete(optim::ParamSlot& slot, at::Tensor gradient) = 0;
  virtual void finish() = 0;
  virtual void drop() = 0;

  GradientBook& book() { return *book_; }
  bool clips() const { return clip_norm_ > 0; }
  bool clip() { return book_->clip(clip_norm_); }

  bool measuring_ = false;

 private:
  struct Share {
    at::Tensor sum;
    int64_t received = 0;
  };

  optim::Optimizer& optimizer_;
  double clip_norm_;
  std::unique_ptr<GradientBook> book_;
  int64_t micro_batches_ = 1;
  std::unordered_map<optim::ParamSlot*, Share> shares_;
};

std::unique_ptr<Gradients> make_gradients(GradientsMode mode, optim::Optimizer& optimizer,
                                          double clip_norm);

}  // namespace lowmem::engine
