#include "lowmem/weights/adapter.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <optional>

#include "lowmem/core/error.h"
#include "lowmem/ops/low_rank.h"
#include "lowmem/weights/quantized.h"
#include "lowmem/weights/selection.h"

namespace lowmem::weights {
namespace {

constexpr const char* kAllLinear = "all-linear";
constexpr double kRankEps = 1e-5;  // PEFT's, of AdaLoRA's scale

// A linear layer of a block.
bool is_linear(const Spec& spec) {
  return spec.kind == Kind::kMatrix && spec.name.starts_with("model.layers.");
}

bool means_any(const StringList& entries, const std::string& module) {
  return std::any_of(entries.begin(), entries.end(), [&](const std::string& entry) {
    return means_module(entry, module);
  });
}

bool is_target(const AdapterConfig& adapter, const std::string& module) {
  const bool all = std::find(adapter.targets.begin(), adapter.targets.end(),
                             kAllLinear) != adapter.targets.end();
  return (all || means_any(adapter.targets, module)) &&
         !means_any(adapter.exclude, module);
}

struct Pattern {
  std::string module;
  double number = 0;
};

// Of "MODULE=NUMBER".
std::vector<Pattern> patterns_of(const StringList& entries, const std::string& key) {
  std::vector<Pattern> patterns;
  for (const std::string& entry : entries) {
    const size_t at = entry.rfind('=');
    const std::string number = at == std::string::npos ? "" : entry.substr(at + 1);
    double value = 0;
    const auto [end, code] =
        std::from_chars(number.data(), number.data() + number.size(), value);
    if (at == 0 || code != std::errc() || end != number.data() + number.size() ||
        !(value > 0) || !std::isfinite(value))
      throw Error(key + " = " + entry, "is not of the form MODULE=NUMBER",
                  "Write a module and a number above 0, such as o_proj=4");
    patterns.push_back({entry.substr(0, at), value});
  }
  return patterns;
}

// The number of the first that means the module.
std::optional<double> number_for(const std::vector<Pattern>& patterns,
                                 const std::string& module) {
  for (const Pattern& pattern : patterns)
    if (means_module(pattern.module, module)) return pattern.number;
  return std::nullopt;
}

void check_patterns(const std::vector<Pattern>& patterns, const std::string& key,
                    const std::vector<AdapterLayer>& layers) {
  for (const Pattern& pattern : patterns)
    if (std::none_of(layers.begin(), layers.end(), [&](const AdapterLayer& layer) {
          return means_module(pattern.module, layer.module);
        }))
      throw Error(key + " = " + pattern.module, "means none of the adapted layers",
                  "Write the end of one's name, or a pattern, or add it to "
                  "adapter.targets");
}

int64_t rank_for(const AdapterConfig& adapter, const std::vector<Pattern>& ranks,
                 const std::string& module) {
  const auto number = number_for(ranks, module);
  if (!number) return adapter.rank;
  if (*number != std::floor(*number) || *number > 1e6)
    throw Error("adapter.rank_pattern", "gives " + module + " a rank that is no count",
                "Write a whole number");
  return static_cast<int64_t>(*number);
}

// An entry that means nothing is a mistake.
void check_entries(const StringList& entries, const std::string& key,
                   const std::vector<Spec>& specs, bool linear_alone) {
  for (const std::string& entry : entries) {
    if (entry == kAllLinear && key == "adapter.targets") continue;
    bool any = false, other = false;
    for (const Spec& spec : specs)
      if (means_module(entry, module_of(spec.name))) {
        const bool fits = !linear_alone || is_linear(spec);
        any = any || fits;
        other = other || !fits;
      }
    if (any) continue;
    if (other)
      throw Error(key + " = " + entry,
                  "is no linear layer of a block: adapters are beside these alone",
                  "Train it whole, with adapter.also_train");
    throw Error(key + " = " + entry, "means no module of this model",
                "Write the end of a module's name, such as q_proj, or a pattern such as "
                "model.layers.*.mlp.*");
  }
}

}  // namespace

StringList multiplied(const StringList& patterns, const std::string& key, double by) {
  StringList found;
  for (const Pattern& pattern : patterns_of(patterns, key)) {
    char text[32];
    std::snprintf(text, sizeof text, "%.17g", pattern.number * by);
    found.push_back(pattern.module + "=" + text);
  }
  return found;
}

std::vector<AdapterLayer> adapter_layers(const std::vector<Spec>& specs,
                                         const AdapterConfig& adapter) {
  if (adapter.kind == AdapterKind::kNone) return {};
  check_entries(adapter.targets, "adapter.targets", specs, true);
  check_entries(adapter.exclude, "adapter.exclude", specs, true);
  check_entries(adapter.also_train, "adapter.also_train", specs, false);
  const auto ranks = patterns_of(adapter.rank_pattern, "adapter.rank_pattern");
  const auto alphas = patterns_of(adapter.alpha_pattern, "adapter.alpha_pattern");
  std::vector<AdapterLayer> layers;
  for (const Spec& spec : specs) {
    const std::string module = module_of(spec.name);
    const bool whole = means_any(adapter.also_train, module);
    if (whole && !spec.alias.empty())
      throw Error("adapter.also_train = " + module,
                  "is the embedding and the head in one, which an adapter's folder would "
                  "hold as two that part",
                  "Leave it out, or set tie_word_embeddings to false in config.json");
    const bool target = is_linear(spec) && is_target(adapter, module);
    if (!spec.joined.empty() && (target || whole))
      throw Error(target ? "adapter.targets" : "adapter.also_train",
                  "names " + module +
                      ", which other programs have joined with its neighbours as " +
                      module_of(spec.joined) +
                      ": adapters of such models are not "
                      "implemented",
                  "Train its weights with adapter.kind = none");
    if (!target) continue;
    if (whole)
      throw Error("adapter.also_train = " + module, "is one of adapter.targets as well",
                  "Leave it out of one of them, as with adapter.exclude");
    AdapterLayer layer;
    layer.module = module;
    layer.rank = rank_for(adapter, ranks, module);
    layer.dropout = adapter.dropout;
    layer.magnitude = adapter.kind == AdapterKind::kDora;
    layer.values = adapter.kind == AdapterKind::kAdalora;
    layer.index = static_cast<uint32_t>(layers.size());
    layer.alpha = number_for(alphas, module).value_or(adapter.alpha);
    const auto rank = static_cast<double>(layer.rank);
    layer.scale = layer.alpha / (adapter.rank_stabilized ? std::sqrt(rank)
                                 : layer.values          ? rank + kRankEps
                                                         : rank);
    layers.push_back(std::move(layer));
  }
  if (layers.empty())
    throw Error("adapter.targets", "leaves no layer to adapt, after adapter.exclude",
                "Name one, or all-linear");
  check_patterns(ranks, "adapter.rank_pattern", layers);
  check_patterns(alphas, "adapter.alpha_pattern", layers);
  return layers;
}

std::vector<Spec> with_adapter(std::vector<Spec> specs, const AdapterConfig& adapter) {
  std::vector<Spec> added;
  size_t next = 0;
  for (const AdapterLayer& layer : adapter_layers(specs, adapter)) {
    while (specs[next].name != layer.module + ".weight") ++next;
    const Spec& base = specs[next];
    const auto add = [&](const std::string& name, std::vector<int64_t> shape, Kind kind) {
      Spec spec{name, std::move(shape), kind, base.group};
      spec.adapter = true;
      spec.type = DType::kF32;
      added.push_back(std::move(spec));
    };
    add(layer.a(), {layer.rank, base.shape[1]}, Kind::kMatrix);
    add(layer.b(), {base.shape[0], layer.rank}, Kind::kMatrix);
    if (layer.magnitude) add(layer.m(), {base.shape[0]}, Kind::kNorm);
    if (layer.values) add(layer.e(), {layer.rank, 1}, Kind::kMatrix);
  }
  specs.insert(specs.end(), added.begin(), added.end());
  return specs;
}

bool trains(const RunConfig& config, const Spec& spec) {
  if (spec.stored != Stored::kPlain) return false;
  if (config.adapter.kind == AdapterKind::kNone) return selects(config.model.train, spec);
  return spec.adapter || means_any(config.adapter.also_train, module_of(spec.name));
}

double lr_ratio(const AdapterConfig& adapter, const Spec& spec) {
  const bool second = spec.adapter && (spec.name.ends_with(".lora_B.weight") ||
                                       spec.name.ends_with(".lora_B"));
  return second || spec.shape.size() == 1 ? adapter.lr_ratio : 1;
}

ops::LowRank pair_of(const Table& table, const AdapterLayer& layer) {
  const at::Tensor& a = table.find(layer.a())->here;
  return {.a = layer.values ? ops::scaled_rows(a, table.find(layer.e())->here) : a,
          .b = table.find(layer.b())->here,
          .scale = layer.scale};
}

at::Tensor merged_rows(const Table& table, const AdapterLayer& layer, int64_t first,
                       int64_t rows) {
  const at::NoGradGuard no_grad;
  const ops::LowRank pair = pair_of(table, layer);
  at::Tensor sum = at::mm(pair.b.narrow(0, first, rows), pair.a).mul_(layer.scale);
  sum.add_(matrix_of(table, layer.module).rows(first, rows, at::kFloat));
  if (layer.magnitude) {
    const at::Tensor norm = at::linalg_vector_norm(sum, 2, {1});
    sum.mul_(table.find(layer.m())->here.narrow(0, first, rows).div(norm).unsqueeze(1));
  }
  return sum;
}

}  // namespace lowmem::weights
