#pragma once

#include <span>
#include <string>
#include <string_view>

#include "lowmem/config/run_config.h"

namespace lowmem {

// What the program knows of an update rule beside its arithmetic (optim/): a row each.
// Validation, reports, plans, proposals and the optimizers themselves read it.
struct Rule {
  OptimizerKind kind;
  std::string_view label;  // in tables: "Adam"

  // What `auto` means: torch.optim's defaults for adam, adamw and sgd, for adafactor
  // those of its rule here. nullopt where the rule has no such number.
  AutoDouble beta2 = std::nullopt, eps = std::nullopt;
  double weight_decay = 0;
  AutoDouble scale_floor = std::nullopt;

  // Keys of the section `optimizer` that it reads, of those that not every rule does.
  std::span<const std::string_view> keys;

  // Averages of each element that it keeps, in optimizer.state_dtype.
  int averages = 0;
  // How often an update reads or writes the gradient or the weight.
  int passes = 0;
  // Whether it needs the gradient of a whole matrix at once, and not of some rows.
  bool whole_matrix = false;
  // Whether its steps are a share of the weight's norm: one of zeros then stays so, but
  // for scale_floor.
  bool relative = false;

  bool reads(std::string_view key) const;
};

// One a rule, in the order of choices(OptimizerKind).
std::span<const Rule> rules();
const Rule& rule_of(OptimizerKind kind);

// The rules that read a key, as "adam, adamw and adafactor"; empty where all do.
std::string readers_of(std::string_view key);

// The numbers of a rule, none of them `auto`: all that an optimizer sees of the section.
struct RuleNumbers {
  double beta1 = 0, beta2 = 0, eps = 0, weight_decay = 0, momentum = 0;
  double scale_floor = 0;
  StateType state = StateType::kF32;
  RoundingMode rounding = RoundingMode::kNearest;
};
RuleNumbers numbers_of(const OptimizerConfig& optimizer);

// Bytes an element of what a rule keeps of a weight, without what rounding keeps, and
// without what does not grow with the elements.
double state_bytes(const OptimizerConfig& optimizer);
// Bytes an element that an update reads and writes, for weights of `weight` bytes.
double moved_bytes(const OptimizerConfig& optimizer, double weight);
// Bytes an element that rounding keeps beside a weight of that type.
int64_t rounding_bytes(RoundingMode rounding, DType weight);

// Replaces every `auto` of the section that the optimizer reads by its number, so that a
// saved config keeps its meaning if a default ever changes.
void resolve_defaults(OptimizerConfig& optimizer);

// adapter.target_rank as a number: two thirds of the rank where it is `auto`, as PEFT has
// 8 of 12, and at least 1.
int64_t target_rank(const AdapterConfig& adapter);

}  // namespace lowmem
