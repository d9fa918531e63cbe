#pragma once

#include <cstddef>
#include <memory>

#include "lowmem/config/choices.h"

namespace lowmem::engine {

// The policy for weights: where a block's live. The driver brackets each use of a block,
// in forward and in backward order, so that a policy can bring the next one meanwhile.
class Weights {
 public:
  virtual ~Weights() = default;
  virtual void acquire(size_t block) = 0;  // before the block's weights are read
  virtual void release(size_t block) = 0;  // after its last use in this pass
};

std::unique_ptr<Weights> make_weights(WeightsMode mode);

}  // namespace lowmem::engine
