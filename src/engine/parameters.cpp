#include "lowmem/engine/parameters.h"

#include <ATen/ATen.h>

#include <algorithm>

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

namespace {

std::string pattern_of(const std::string& word) {
  return word == "layers" ? "model.layers.*" : word == "all" ? "*" : word;
}

}  // namespace

bool selects(const std::vector<std::string>& train, const std::string& name) {
  return std::any_of(train.begin(), train.end(), [&](const std::string& word) {
    return matches(pattern_of(word), name);
  });
}

void check_trained(const model::LlamaConfig& config,
                   const std::vector<std::string>& train) {
  const auto specs = model::weight_specs(config);
  for (const std::string& word : train)
    if (std::none_of(specs.begin(), specs.end(), [&](const model::WeightSpec& spec) {
          return matches(pattern_of(word), spec.name);
        }))
      throw Error("model.train = " + word, "matches no weight of this model",
                  "Write layers, all, or a pattern such as model.layers.*.mlp.*");
}

Parameters::Parameters(model::Llama& model, const std::vector<std::string>& train) {
  check_trained(model.config(), train);
  uint32_t index = 0;
  for (auto& item : model.named_parameters()) {
    const bool trained = selects(train, item.key());
    item.value().set_requires_grad(trained);
    if (trained) slots_.push_back({item.key(), index, item.value(), {}, 0});
    ++index;
  }
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
