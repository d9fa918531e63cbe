#include "lowmem/train/methods.h"

#include <algorithm>

#include "lowmem/config/differences.h"
#include "lowmem/config/rules.h"
#include "lowmem/config/validate.h"
#include "lowmem/core/error.h"
#include "lowmem/core/plain_text.h"
#include "lowmem/core/units.h"
#include "lowmem/memory/meter.h"
#include "lowmem/train/exported.h"
#include "lowmem/weights/adapter_start.h"
#include "lowmem/weights/hf_folder.h"

namespace lowmem::train {
namespace {

struct Way {
  const char* name;
  AdapterKind adapter;
  QuantizeMode quantize;
  bool elsewhere;  // weights
};

constexpr Way kWays[] = {
    {"no adapter", AdapterKind::kNone, QuantizeMode::kNone, false},
    {"no adapter, elsewhere", AdapterKind::kNone, QuantizeMode::kNone, true},
    {"lora", AdapterKind::kLora, QuantizeMode::kNone, false},
    {"dora", AdapterKind::kDora, QuantizeMode::kNone, false},
    {"adalora", AdapterKind::kAdalora, QuantizeMode::kNone, false},
    {"lora over int8", AdapterKind::kLora, QuantizeMode::kInt8, false},
    {"lora over nf4", AdapterKind::kLora, QuantizeMode::kNf4, false},
    {"lora over nf4, elsewhere", AdapterKind::kLora, QuantizeMode::kNf4, true},
};

// The adapter of a way: the configuration's own, without what belongs to another kind.
AdapterConfig adapter_of(const Way& way, const AdapterConfig& own) {
  AdapterConfig adapter = own;
  if (own.kind == AdapterKind::kNone) {
    adapter.rank = 16;
    adapter.targets = {"all-linear"};
  }
  adapter.kind = way.adapter;
  const AdapterConfig defaults;
  const bool over_codes = way.quantize != QuantizeMode::kNone;
  const bool beginning_fits =
      adapter.init == AdapterInit::kLoftq ? way.quantize == QuantizeMode::kNf4
      : adapter.init == AdapterInit::kPissa || adapter.init == AdapterInit::kOlora
          ? !over_codes
          : true;
  if (!beginning_fits) {
    adapter.init = defaults.init;
    adapter.loftq_iterations = defaults.loftq_iterations;
  }
  if (way.adapter == own.kind) return adapter;
  adapter.path = defaults.path;
  if (way.adapter == AdapterKind::kAdalora) {
    adapter.init = defaults.init;
    adapter.loftq_iterations = defaults.loftq_iterations;
    adapter.rank_stabilized = defaults.rank_stabilized;
    adapter.rank_pattern = defaults.rank_pattern;
    adapter.alpha_pattern = defaults.alpha_pattern;
  }
  adapter.target_rank = defaults.target_rank;
  adapter.tinit = defaults.tinit;
  adapter.tfinal = defaults.tfinal;
  adapter.delta_t = defaults.delta_t;
  adapter.beta1 = defaults.beta1;
  adapter.beta2 = defaults.beta2;
  adapter.orth_reg_weight = defaults.orth_reg_weight;
  return adapter;
}

// The settings of a way; whatever else the configuration says stays.
RunConfig settings_of(const Way& way, const RunConfig& config, bool gpu) {
  RunConfig run = config;
  run.model.quantize = way.quantize;
  if (way.quantize != QuantizeMode::kNf4)
    run.model.double_quantization = ModelConfig().double_quantization;
  run.memory.weights = !way.elsewhere ? WeightsMode::kResident
                       : gpu          ? WeightsMode::kHost
                                      : WeightsMode::kDisk;
  run.memory.resident_blocks = 0;
  if (way.elsewhere) run.memory.ahead = std::min<int64_t>(run.memory.ahead, 1);
  if (way.adapter == AdapterKind::kNone) {
    run.adapter = {};
    return run;
  }
  run.adapter = adapter_of(way, config.adapter);
  run.model.train = ModelConfig().train;
  OptimizerConfig& optimizer = run.optimizer;
  // A step that is a share of the weight's size is none for a weight that begins with
  // zeros; who has an adapter has chosen.
  if (config.adapter.kind == AdapterKind::kNone && rule_of(optimizer.name).relative) {
    OptimizerConfig rule;
    rule.name = OptimizerKind::kAdamW;
    rule.lr = 2e-4;
    rule.schedule = optimizer.schedule;
    rule.warmup_steps = optimizer.warmup_steps;
    rule.clip_norm = optimizer.clip_norm;
    rule.clip_mode = optimizer.clip_mode;
    optimizer = rule;
  }
  // An adapter is fp32, of which rounding loses nothing.
  if (optimizer.rounding == RoundingMode::kKahan && run.adapter.also_train.empty())
    optimizer.rounding = OptimizerConfig().rounding;
  return run;
}

}  // namespace

std::vector<Method> plan_methods(const RunConfig& config, const Inputs& inputs,
                                 const Plan& now) {
  std::vector<Method> methods;
  for (const Way& way : kWays) {
    Method& method = methods.emplace_back();
    method.name = way.name;
    const RunConfig run = settings_of(way, config, !inputs.device.is_cpu());
    for (const Difference& difference : differences(config, run))
      method.overrides.push_back(difference.key + "=" + difference.after);
    try {
      validate(run, Purpose::kTrain);
      const std::string& folder = run.model.path;
      weights::check_folder(weight_specs(run, inputs.shape), folder);
      if (run.adapter.path.empty())
        weights::check_start(model::weight_specs(inputs.shape), run.adapter, folder);
      Speed speed = now.speed;
      if (run.memory.uses_disk() && speed.disk == 0) speed.disk = disk_speed(run);
      method.plan = make_plan(run, inputs, nullptr, &speed);
      method.trained = at_rest(run, inputs).trained_elements;
    } catch (const std::exception& failure) {
      const auto* error = dynamic_cast<const Error*>(&failure);
      if (!memory::asked_of(failure).empty())
        method.refused = "the process may not have enough addresses to plan it";
      else if (error != nullptr)
        method.refused = error->thing() + " " + error->problem();
      else
        throw;
    }
  }
  return methods;
}

std::string to_text(const std::vector<Method>& methods) {
  const auto most = std::max_element(
      methods.begin(), methods.end(),
      [](const auto& a, const auto& b) { return a.name.size() < b.name.size(); });
  const size_t width = most->name.size() + 2;
  std::string text, settings;
  for (const Method& method : methods) {
    std::string line(2, ' ');
    line.append(method.name);
    line.resize(width + 2, ' ');
    if (!method.refused.empty()) {
      text.append(line).append("not here: ").append(method.refused).append("\n");
      continue;
    }
    const Plan& plan = method.plan;
    line += "peak " + format_bytes(plan.memory.peak) + ", trains " +
            format_count(method.trained, "parameter") + ", leaves " +
            format_bytes(plan.disk.model);
    if (plan.traffic.read > 0)
      line += ", reads " + format_bytes(plan.traffic.read) + " a step";
    // What an adapter's and codes' own products take is in no estimate.
    if (plan.on_cpu && method.name.starts_with("no adapter"))
      line += ", about " + format_seconds(plan.seconds);
    text.append(line).append("\n");
    settings.append("  ").append(method.name).append(":");
    if (method.overrides.empty()) settings += " as it is";
    for (const std::string& assignment : method.overrides)
      settings.append(" ").append(shell_word(assignment));
    settings += "\n";
  }
  return "ways to train this model on these rows:\n" + text + "settings of each:\n" +
         settings.substr(0, settings.size() - 1);
}

}  // namespace lowmem::train
