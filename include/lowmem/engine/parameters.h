#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "lowmem/model/llama.h"
#include "lowmem/optim/optimizer.h"

namespace lowmem::engine {

// The trained parameters of a model. Slots keep their address.
class Parameters {
 public:
  // Marks what `train` selects as needing a gradient, everything else as not. `train` is
  // "layers" (all of model.layers), "all", or patterns over Hugging Face's names in which
  // * stands for any text. Throws Error for a pattern that matches nothing.
  Parameters(model::Llama& model, const std::vector<std::string>& train);

  std::deque<optim::ParamSlot>& slots() { return slots_; }
  const std::deque<optim::ParamSlot>& slots() const { return slots_; }
  // The slot of a weight of the model; null if it is not trained. O(n).
  optim::ParamSlot* find(const at::Tensor& weight);
  int64_t elements() const;

 private:
  std::deque<optim::ParamSlot> slots_;
};

// Throws Error for the first of `train` that selects none of the model's weights; reads
// nothing but their names.
void check_trained(const model::LlamaConfig& config,
                   const std::vector<std::string>& train);

// Whether a weight of that name is among those to train.
bool selects(const std::vector<std::string>& train, const std::string& name);

// Whether `name` matches `pattern`, in which * stands for any text, also none.
bool matches(const std::string& pattern, const std::string& name);

}  // namespace lowmem::engine
