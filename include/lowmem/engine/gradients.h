#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "lowmem/config/run_config.h"
#include "lowmem/optim/optimizer.h"

namespace lowmem::engine {

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

  void begin(const optim::StepInfo& step, int64_t micro_batches);
  // One micro-batch's gradient. Takes it over.
  void receive(optim::ParamSlot& slot, at::Tensor gradient);
  // The whole batch's gradient. Takes it over.
  void receive_whole(optim::ParamSlot& slot, at::Tensor gradient);
  // Ends the step: every trained parameter has been updated once when this returns.
  // Returns the norm of the whole gradient, before clipping.
  double end();

 protected:
  // Called once a parameter and step, in the order in which they are complete.
  virtual void complete(optim::ParamSlot& slot, at::Tensor gradient) = 0;
  virtual void finish() = 0;
  void update(optim::ParamSlot& slot, const at::Tensor& gradient);

  optim::StepInfo step_;
  double clip_norm_;
  double squared_norm_ = 0;

 private:
  struct Share {
    at::Tensor sum;
    int64_t received = 0;
  };

  optim::Optimizer& optimizer_;
  int64_t micro_batches_ = 1;
  std::unordered_map<optim::ParamSlot*, Share> shares_;
};

std::unique_ptr<Gradients> make_gradients(GradientsMode mode, optim::Optimizer& optimizer,
                                          double clip_norm);

}  // namespace lowmem::engine
