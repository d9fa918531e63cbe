#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "lowmem/config/run_config.h"
#include "lowmem/optim/optimizer.h"

namespace lowmem::engine {

// What a step's gradients came to.
struct GradientReport {
  double norm = 0;  // of all finite gradients together, before clipping
  kernels::RoundingReport rounding;
  // Parameters whose gradient is not finite, and which were left as they are.
  std::vector<std::string> nonfinite;
};

// The policy for gradients: what happens to one the moment it exists. A parameter's share
// of each micro-batch is added up first, in fp32 where there are several, in the order of
// the micro-batches; so every policy sees the same numbers.
class Gradients {
 public:
  Gradients(optim::Optimizer& optimizer, double clip_norm)
      : clip_norm_(clip_norm), optimizer_(optimizer) {}
  virtual ~Gradients() = default;

  // Whether a parameter's gradient should be complete before the next block's begins: the
  // driver then takes all micro-batches through a block before it goes on to the next.
  virtual bool whole_batch_per_block() const = 0;
  // Whether the step needs a backward pass of its own for the norm, before the one that
  // updates.
  virtual bool measures_first() const { return false; }

  void begin(const optim::StepInfo& step, int64_t micro_batches);
  // One micro-batch's gradient, of the parameter's shape and type. Takes it over.
  void receive(optim::ParamSlot& slot, at::Tensor gradient);
  // The whole batch's gradient, of the parameter's shape, in its type or fp32. Takes it
  // over.
  void receive_whole(optim::ParamSlot& slot, at::Tensor gradient);
  // Ends a pass that measured: the next one updates. False if the norm is not finite; the
  // step is then over, with nothing updated.
  bool end_measuring();
  // Ends the step: every trained parameter has been updated once when this returns,
  // unless its gradient is not finite.
  GradientReport end();
  // Ends the step with nothing updated beyond what already is.
  void discard();

 protected:
  // Called once a parameter and pass, in the order in which gradients are complete.
  virtual void complete(optim::ParamSlot& slot, at::Tensor gradient) = 0;
  virtual void finish() = 0;
  virtual void drop() = 0;

  void measure(const optim::ParamSlot& slot, const at::Tensor& gradient);
  // Scales what follows so that the measured norm is at most clip_norm, as
  // torch.nn.utils.clip_grad_norm_ does. False if the norm is not finite.
  bool clip();
  void update(optim::ParamSlot& slot, const at::Tensor& gradient);

  double clip_norm_;
  bool measuring_ = false;

 private:
  struct Share {
    at::Tensor sum;
    int64_t received = 0;
  };

  optim::Optimizer& optimizer_;
  optim::StepInfo step_;
  GradientReport report_;
  double squared_norm_ = 0;
  int64_t micro_batches_ = 1;
  std::unordered_map<optim::ParamSlot*, Share> shares_;
};

std::unique_ptr<Gradients> make_gradients(GradientsMode mode, optim::Optimizer& optimizer,
                                          double clip_norm);

}  // namespace lowmem::engine
