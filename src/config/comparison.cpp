#include "lowmem/config/comparison.h"

#include "config/keys.h"
#include "config/values.h"
#include "lowmem/config/rules.h"

namespace lowmem {
namespace {

// Whether a difference in such a key tells two methods apart.
bool tells_methods_apart(Alters alters) {
  return alters != Alters::kNothing && alters != Alters::kLog &&
         alters != Alters::kChance;
}

struct Values {
  std::vector<std::string> keys, values;
};

Values values_of(RunConfig config) {
  Values all;
  for_each_key(config, [&](const std::string& key, const auto& value, KeyFacts facts) {
    if (!tells_methods_apart(facts.alters)) return;
    all.keys.push_back(key);
    all.values.push_back(format_value(value));
  });
  return all;
}

}  // namespace

Comparison compare(const std::vector<RunConfig>& configs) {
  std::vector<Values> all;
  for (const RunConfig& config : configs) all.push_back(values_of(config));
  Comparison comparison;
  comparison.values.resize(configs.size());
  for (size_t key = 0; !all.empty() && key < all[0].keys.size(); ++key) {
    bool differs = false;
    for (const Values& one : all) differs |= one.values[key] != all[0].values[key];
    if (!differs) continue;
    comparison.keys.push_back(all[0].keys[key]);
    for (size_t i = 0; i < all.size(); ++i)
      comparison.values[i].push_back(all[i].values[key]);
  }
  return comparison;
}

std::string method_of(const RunConfig& config) {
  const auto& model = config.model;
  const auto& optimizer = config.optimizer;
  const auto& memory = config.memory;
  std::string method(word_of(model.dtype));
  method += " " + std::string(rule_of(optimizer.name).label);
  if (model.compute_dtype != model.dtype)
    method += ", " + std::string(word_of(model.compute_dtype)) + " arithmetic";
  if (model.dtype == DType::kBF16)
    method += ", " + std::string(word_of(optimizer.rounding)) + " rounding";
  const auto last = memory.activations.count;
  if (memory.activations == ActivationsMode::kRecompute || last) method += ", recompute";
  if (last.value_or(0) > 0) method += " but the last " + std::to_string(*last);
  if (memory.gradients == GradientsMode::kUpdate) method += ", update in backward";
  if (memory.linear_cross_entropy) method += ", linear cross-entropy";
  return method;
}

}  // namespace lowmem
