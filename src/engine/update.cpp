#include "gradient_chains.h"

namespace lowmem::engine {

// memory.gradients = update: a gradient is applied as soon as it is complete, inside the
// backward pass. Lv et al. 2023, "Full Parameter Fine-tuning for Large Language Models
// with Limited Resources" (LOMO). Clipping by the norm of all of them takes a pass of its
// own before, in which each is measured.
GradientChain make_update(GradientBook& book, double clip_norm) {
  GradientChain chain;
  if (clip_norm > 0) {
    chain.stages.push_back(std::make_unique<Measure>(book, clip_norm));
    chain.passes.push_back({chain.stages.back().get(), true, weights::Access::kRead});
  }
  chain.stages.push_back(std::make_unique<Apply>(book));
  chain.passes.push_back({chain.stages.back().get(), true, weights::Access::kWrite});
  return chain;
}

}  // namespace lowmem::engine
