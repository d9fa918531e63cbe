#include "lowmem/config/rules.h"

#include <algorithm>

#include "config/values.h"

namespace lowmem {
namespace {

constexpr std::string_view kAdamKeys[] = {"beta1", "beta2", "eps", "weight_decay",
                                          "state_dtype"};
constexpr std::string_view kAdafactorKeys[] = {"beta2", "eps", "scale_floor"};
constexpr std::string_view kSgdKeys[] = {"momentum", "weight_decay"};

constexpr Rule kRules[] = {
    {.kind = OptimizerKind::kAdam,
     .label = "Adam",
     .beta2 = 0.999,
     .eps = 1e-8,
     .keys = kAdamKeys,
     .averages = 2,
     .passes = 4},
    {.kind = OptimizerKind::kAdamW,
     .label = "AdamW",
     .beta2 = 0.999,
     .eps = 1e-8,
     .weight_decay = 0.01,
     .keys = kAdamKeys,
     .averages = 2,
     .passes = 4},
    {.kind = OptimizerKind::kAdafactor,
     .label = "Adafactor",
     .beta2 = 0.99,
     .eps = 1e-30,
     .scale_floor = 1e-3,
     .keys = kAdafactorKeys,
     .passes = 6,  // three over the gradient, two over the weight, one of which writes
     .whole_matrix = true,
     .relative = true},
    {.kind = OptimizerKind::kSgd, .label = "SGD", .keys = kSgdKeys, .passes = 4},
};

constexpr bool in_order() {
  const auto words = choices(OptimizerKind{});
  if (words.size() != std::size(kRules)) return false;
  for (size_t i = 0; i < words.size(); ++i)
    if (words[i].value != kRules[i].kind) return false;
  return true;
}
static_assert(in_order(), "a row for each word of optimizer.name");

}  // namespace

bool Rule::reads(std::string_view key) const {
  return std::find(keys.begin(), keys.end(), key) != keys.end();
}

std::span<const Rule> rules() { return kRules; }

const Rule& rule_of(OptimizerKind kind) {
  return *std::find_if(std::begin(kRules), std::end(kRules),
                       [&](const Rule& rule) { return rule.kind == kind; });
}

std::string readers_of(std::string_view key) {
  std::string readers;
  const auto reads = [&](const Rule& rule) { return rule.reads(key); };
  auto left = std::count_if(std::begin(kRules), std::end(kRules), reads);
  for (const Rule& rule : kRules) {
    if (!reads(rule)) continue;
    readers += word_of(rule.kind);
    if (--left > 0) readers += left == 1 ? " and " : ", ";
  }
  return readers;
}

RuleNumbers numbers_of(const OptimizerConfig& optimizer) {
  OptimizerConfig resolved = optimizer;
  resolve_defaults(resolved);
  return {resolved.beta1,           resolved.beta2.value_or(0),
          resolved.eps.value_or(0), resolved.weight_decay.value_or(0),
          resolved.momentum,        resolved.scale_floor.value_or(0),
          resolved.state_dtype,     resolved.rounding};
}

double state_bytes(const OptimizerConfig& optimizer) {
  return rule_of(optimizer.name).averages * bytes_of(optimizer.state_dtype) +
         (optimizer.momentum > 0 ? 4 : 0);
}

double moved_bytes(const OptimizerConfig& optimizer, double weight) {
  const double kahan = optimizer.rounding == RoundingMode::kKahan ? 4 : 0;
  return rule_of(optimizer.name).passes * weight + 2 * state_bytes(optimizer) + kahan;
}

int64_t rounding_bytes(RoundingMode rounding, DType weight) {
  return rounding == RoundingMode::kKahan && weight == DType::kBF16 ? 2 : 0;
}

void resolve_defaults(OptimizerConfig& optimizer) {
  const Rule& rule = rule_of(optimizer.name);
  if (!optimizer.beta2) optimizer.beta2 = rule.beta2;
  if (!optimizer.eps) optimizer.eps = rule.eps;
  if (!optimizer.weight_decay) optimizer.weight_decay = rule.weight_decay;
  if (!optimizer.scale_floor) optimizer.scale_floor = rule.scale_floor;
}

int64_t target_rank(const AdapterConfig& adapter) {
  return adapter.target_rank.count.value_or(std::max<int64_t>(1, 2 * adapter.rank / 3));
}

}  // namespace lowmem
