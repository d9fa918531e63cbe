#include "lowmem/engine/parameters.h"

#include <ATen/ATen.h>

#include "lowmem/core/error.h"

namespace lowmem::engine {

bool matches(const std::string& pattern, const std::string& name) {
  // Greedy with one point to come back to: linear but for the text after a star.
  size_t p = 0, n = 0, star = std::string::npos, retry = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      retry = n;
    } else if (p < pattern.size() && pattern[p] == name[n]) {
      ++p, ++n;
    } else if (star != std::string::npos) {
      p = star + 1;
      n = ++retry;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

Parameters::Parameters(model::Llama& model, const std::vector<std::string>& train) {
  std::vector<std::string> patterns;
  for (const std::string& word : train)
    patterns.push_back(word == "layers" ? "model.layers.*" : word == "all" ? "*" : word);
  std::vector<bool> used(patterns.size(), false);

  uint32_t index = 0;
  for (auto& item : model.named_parameters()) {
    bool trained = false;
    for (size_t i = 0; i < patterns.size(); ++i)
      if (matches(patterns[i], item.key())) used[i] = trained = true;
    item.value().set_requires_grad(trained);
    if (trained) slots_.push_back({item.key(), index, item.value(), {}, 0});
    ++index;
  }
  for (size_t i = 0; i < patterns.size(); ++i)
    if (!used[i])
      throw Error("model.train = " + train[i], "matches no weight of this model",
                  "Write layers, all, or a pattern such as model.layers.*.mlp.*");
}

optim::ParamSlot* Parameters::find(const at::Tensor& weight) {
  for (optim::ParamSlot& slot : slots_)
    if (slot.param.is_same(weight)) return &slot;
  return nullptr;
}

int64_t Parameters::elements() const {
  int64_t total = 0;
  for (const optim::ParamSlot& slot : slots_) total += slot.param.numel();
  return total;
}

}  // namespace lowmem::engine
