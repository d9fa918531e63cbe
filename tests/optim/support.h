#pragma once

// What tests of update rules share.

#include <map>

#include "lowmem/ops/dtype.h"
#include "lowmem/optim/optimizer.h"
#include "support/training.h"

namespace lowmem::optim::test {

using lowmem::test::normal, lowmem::test::relative_difference, lowmem::test::tensor_of;

using weights::Weight;

inline Weight slot_of(const at::Tensor& start, uint32_t index = 3) {
  return {.spec = {.name = "weight", .shape = start.sizes().vec()},
          .index = index,
          .format = ops::dtype_of(start),
          .trained = true,
          .here = start.clone()};
}

// An optimizer that prepares what it is given.
struct Prepared {
  std::unique_ptr<Optimizer> optimizer;

  UpdateResult update(Weight& weight, const at::Tensor& gradient, const StepInfo& step) {
    optimizer->prepare(weight);
    return optimizer->update(weight, gradient, step);
  }
  Prepared* operator->() { return this; }
};
inline Prepared rule(const OptimizerConfig& config, uint64_t seed) {
  return {make_optimizer(config, seed)};
}

// torch.optim's results in float64, and the settings that made them.
inline const nlohmann::json& reference() {
  static const nlohmann::json file =
      read_json(lowmem::test::fixture("training/optimizers.json"));
  return file;
}

inline OptimizerConfig config_of(const std::string& name) {
  nlohmann::json rule = reference().at("optimizers").at(name).at("options");
  rule["name"] = name;
  return lowmem::test::optimizer_config({{"optimizer", rule}});
}

inline constexpr const char* kRules[] = {"adam", "adamw", "sgd", "adafactor"};
inline constexpr RoundingMode kRoundings[] = {
    RoundingMode::kStochastic, RoundingMode::kNearest, RoundingMode::kKahan};

// The rule's settings with each type of state that it offers.
inline std::vector<OptimizerConfig> with_each_state(OptimizerConfig config) {
  std::vector<OptimizerConfig> all{config};
  if (config.name == OptimizerKind::kAdam || config.name == OptimizerKind::kAdamW) {
    for (const StateType state : {StateType::kBF16, StateType::kInt8}) {
      config.state_dtype = state;
      all.push_back(config);
    }
  }
  return all;
}

// The parameter and all that is remembered of it, bit by bit.
inline void expect_same(const Weight& a, const Weight& b) {
  EXPECT_TRUE(at::equal(a.here, b.here)) << "the parameter";
  EXPECT_EQ(a.updates, b.updates);
  ASSERT_EQ(a.beside.size(), b.beside.size());
  for (const auto& [name, tensor] : a.beside)
    EXPECT_TRUE(at::equal(tensor, b.beside.at(name))) << name;
}

}  // namespace lowmem::optim::test
