#include "lowmem/weights/selection.h"

#include <algorithm>

#include "lowmem/core/error.h"

namespace lowmem::weights {

namespace {

std::string pattern_of(const std::string& word) {
  return word == "layers" ? "model.layers.*" : word == "all" ? "*" : word;
}

// A joined tensor's name stands for all that is in it.
bool selects(const std::string& word, const Spec& spec) {
  const std::string pattern = pattern_of(word);
  return matches(pattern, spec.name) || matches(pattern, spec.file_name());
}

}  // namespace

bool selects(const std::vector<std::string>& train, const Spec& spec) {
  return std::any_of(train.begin(), train.end(),
                     [&](const std::string& word) { return selects(word, spec); });
}

void check_selection(const std::vector<Spec>& specs,
                     const std::vector<std::string>& train) {
  for (const std::string& word : train)
    if (std::none_of(specs.begin(), specs.end(),
                     [&](const Spec& spec) { return selects(word, spec); }))
      throw Error("model.train = " + word, "matches no weight of this model",
                  "Write layers, all, or a pattern such as model.layers.*.mlp.*");
}

void select(Table& table, const std::vector<std::string>& train) {
  std::vector<Spec> specs;
  for (const Weight& weight : table.all()) specs.push_back(weight.spec);
  check_selection(specs, train);
  select(table, [&](const Spec& spec) { return selects(train, spec); });
}

void select(Table& table, const std::function<bool(const Spec&)>& trains) {
  for (Weight& weight : table.all()) {
    weight.trained = trains(weight.spec);
    if (weight.here.defined()) weight.here.set_requires_grad(weight.trained);
  }
}

}  // namespace lowmem::weights
