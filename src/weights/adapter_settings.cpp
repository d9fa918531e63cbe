#include "lowmem/weights/adapter_settings.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "adapter_files.h"
#include "adapter_triplets.h"
#include "lowmem/core/error.h"
#include "lowmem/core/files.h"
#include "lowmem/io/safetensors.h"
#include "lowmem/weights/names.h"

namespace lowmem::weights {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kRefetch = "Repair the file, or fetch the folder again";

// Keys that say where an adapter comes from, or how it began, and nothing of what it is.
constexpr std::array kOfNoEffect = {"auto_mapping",      "base_model_name_or_path",
                                    "corda_config",      "ensure_weight_tying",
                                    "eva_config",        "inference_mode",
                                    "init_lora_weights", "loftq_config",
                                    "lora_ga_config",    "megatron_config",
                                    "megatron_core",     "peft_version",
                                    "revision",          "runtime_config",
                                    "task_type",         "layers_pattern",
                                    "qalora_group_size"};
// And those that are read.
constexpr std::array kRead = {
    "peft_type",     "r",          "lora_alpha",      "target_modules",  "rank_pattern",
    "alpha_pattern", "use_rslora", "modules_to_save", "exclude_modules", "lora_dropout",
    "use_dora"};

[[noreturn]] void refuse(const fs::path& file, const std::string& problem,
                         const std::string& remedy = kRefetch) {
  throw Error(file.string(), problem, remedy);
}

bool is_empty(const json& value) {
  return value.is_null() || value == json(false) || value == json("none") ||
         ((value.is_array() || value.is_object() || value.is_string()) && value.empty());
}

template <size_t N>
bool is_among(const std::array<const char*, N>& keys, const std::string& key) {
  return std::find(keys.begin(), keys.end(), key) != keys.end();
}

// Whether a folder of that kind is read by a key. PEFT writes `r` into AdaLoRA's, too,
// which have init_r.
bool is_read(const std::string& key, bool adalora) {
  constexpr std::array kOfOthers = {"alpha_pattern", "use_rslora", "use_dora"};
  if (!adalora) return is_among(kRead, key);
  return is_triplets_key(key) || (is_among(kRead, key) && !is_among(kOfOthers, key));
}

void refuse_what_is_not_known(const fs::path& file, const json& config, bool adalora) {
  for (const auto& [key, value] : config.items()) {
    if (is_read(key, adalora) || is_among(kOfNoEffect, key) || is_empty(value)) continue;
    if (key == "bias")
      refuse(file, "has bias = " + value.dump() + ": trained biases are not implemented",
             "Train the adapter with bias = none");
    refuse(
        file,
        "has " + key + " = " + value.dump().substr(0, 60) + ", which is not implemented",
        "Train the adapter without it");
  }
}

// Some beginnings take from the model what they give to the adapter: beside the model
// as it was, that would be counted twice.
void refuse_changed_base(const fs::path& file, const json& init) {
  if (init.is_null() || init.is_boolean() || init == json("gaussian") ||
      init == json("eva") || init == json("orthogonal"))
    return;
  refuse(file,
         "has init_lora_weights = " + init.dump() +
             ": it was trained beside a model that this changed",
         "Save it as an ordinary LoRA, with PEFT's "
         "path_initial_model_for_weight_conversion");
}

double number_of(const fs::path& file, const json& value, const std::string& key) {
  if (!value.is_number() || !(value.get<double>() > 0) ||
      !std::isfinite(value.get<double>()))
    refuse(file, key + " is no number above 0");
  return value.get<double>();
}

// The adapter's tensors by the module that they are beside: "lora_A", "lora_B", a
// magnitude or "lora_E", and "weight" or "bias" of a module that is there whole.
struct Parts {
  const TensorInfo* a = nullptr;
  const TensorInfo* b = nullptr;
  const TensorInfo* magnitude = nullptr;
  const TensorInfo* e = nullptr;
  bool whole = false;
};

std::map<std::string, Parts> modules_in(const SafetensorsFile& file, AdapterKind kind) {
  std::map<std::string, Parts> modules;
  const std::string prefix = kPrefix;
  using Place = const TensorInfo* Parts::*;
  const std::map<std::string, Place> places =
      kind == AdapterKind::kAdalora
          ? std::map<std::string, Place>{{".lora_A", &Parts::a},
                                         {".lora_B", &Parts::b},
                                         {".lora_E", &Parts::e}}
          : std::map<std::string, Place>{{".lora_A.weight", &Parts::a},
                                         {".lora_B.weight", &Parts::b},
                                         {".lora_magnitude_vector", &Parts::magnitude}};
  for (const TensorInfo& tensor : file.tensors()) {
    if (!tensor.name.starts_with(prefix))
      refuse(file.path(), "tensor " + tensor.name + " does not begin with " + prefix);
    const std::string name = tensor.name.substr(prefix.size());
    const auto place = std::find_if(places.begin(), places.end(), [&](const auto& known) {
      return name.ends_with(known.first);
    });
    if (place != places.end()) {
      modules[name.substr(0, name.size() - place->first.size())].*place->second = &tensor;
    } else if (name.find(".lora_") != std::string::npos) {
      refuse(file.path(),
             "tensor " + tensor.name +
                 " is of a kind of adapter that is not implemented, or not the one that "
                 "adapter_config.json names",
             "Train the adapter as LoRA, DoRA or AdaLoRA of linear layers");
    } else {
      modules[module_of(name)].whole = true;
    }
  }
  return modules;
}

// The patterns of PEFT, an expression for the end of a module's name, as far as they are
// plain names; `modules` must be met by each.
std::map<std::string, double> numbers_of(const fs::path& file, const json& patterns,
                                         const std::string& key,
                                         const std::set<std::string>& modules,
                                         double common) {
  std::map<std::string, double> numbers;
  for (const std::string& module : modules) numbers[module] = common;
  if (is_empty(patterns)) return numbers;
  if (!patterns.is_object()) refuse(file, key + " is no object");
  std::set<std::string> done;
  for (const auto& [pattern, value] : patterns.items()) {
    std::string plain;
    for (size_t i = 0; i < pattern.size(); ++i) {
      if (pattern[i] == '^' && i == 0) continue;
      if (pattern[i] == '$' && i + 1 == pattern.size()) continue;
      if (pattern[i] == '\\' && pattern.substr(i, 2) == "\\.") continue;
      plain += pattern[i];
    }
    if (plain.find_first_of("*+?()[]{}|\\^$") != std::string::npos)
      refuse(file,
             key + " has the expression " + pattern +
                 ", and expressions beyond names are not implemented",
             "Write a name for each module");
    const double number = number_of(file, value, key + " of " + pattern);
    bool any = false;
    for (const std::string& module : modules) {
      if (!means_module(plain, module)) continue;
      any = true;
      if (done.insert(module).second) numbers[module] = number;
    }
    if (!any) refuse(file, key + " has " + pattern + ", which means none of its modules");
  }
  return numbers;
}

StringList patterns_of(const std::map<std::string, double>& numbers, double common) {
  StringList patterns;
  for (const auto& [module, number] : numbers) {
    if (number == common) continue;
    char text[32];
    std::snprintf(text, sizeof text, "%.17g", number);
    patterns.push_back(module + "=" + text);
  }
  return patterns;
}

void check_targets(const fs::path& file, const json& targets,
                   const std::set<std::string>& modules) {
  if (targets.is_string()) return;  // an expression; the tensors say what it meant
  if (!targets.is_array() || targets.empty()) refuse(file, "has no target_modules");
  for (const json& target : targets) {
    if (!target.is_string()) refuse(file, "target_modules is no list of names");
    if (std::none_of(modules.begin(), modules.end(), [&](const std::string& module) {
          return means_module(target.get<std::string>(), module);
        }))
      refuse(file, "target_modules has " + target.get<std::string>() +
                       ", of which the tensors hold nothing");
  }
  for (const std::string& module : modules)
    if (std::none_of(targets.begin(), targets.end(), [&](const json& target) {
          return means_module(target.get<std::string>(), module);
        }))
      refuse(file,
             "target_modules does not name " + module + ", of which there are tensors");
}

// modules_to_save means modules by plain ends of their names.
void check_saved(const fs::path& file, const json& entries,
                 const std::vector<std::string>& modules) {
  if (is_empty(entries)) return;
  if (!entries.is_array()) refuse(file, "modules_to_save is no list of names");
  std::set<std::string> met;
  for (const json& entry : entries) {
    if (!entry.is_string()) refuse(file, "modules_to_save is no list of names");
    bool any = false;
    for (const std::string& module : modules)
      if (module.ends_with(entry.get<std::string>())) {
        met.insert(module);
        any = true;
      }
    if (!any)
      refuse(file, "modules_to_save has " + entry.get<std::string>() +
                       ", of which the tensors hold nothing");
  }
  for (const std::string& module : modules)
    if (!met.contains(module))
      refuse(file,
             "modules_to_save does not name " + module + ", of which there are tensors");
}

// How many triplets are left of each module.
std::map<std::string, double> counts_of(const TripletsLeft& left) {
  std::map<std::string, double> counts;
  for (const auto& [module, own] : left)
    counts[module] = static_cast<double>(std::count(own.begin(), own.end(), true));
  return counts;
}

json config_in(const fs::path& file) {
  constexpr int64_t kLargest = int64_t{1} << 20;
  json config = read_json(file, kLargest);
  if (!config.is_object()) refuse(file, "is not a JSON object");
  return config;
}

}  // namespace

AdapterConfig read_adapter(const fs::path& folder) {
  const fs::path file = folder / kConfig;
  if (!is_there(file))
    throw Error(folder.string(), std::string("holds no ") + kConfig,
                "Name an adapter's folder, as PEFT saves it");
  const json config = config_in(file);
  const auto value = [&](const char* key) {
    const auto found = config.find(key);
    return found == config.end() ? json() : *found;
  };
  const bool adalora = value("peft_type") == json("ADALORA");
  if (!adalora && value("peft_type") != json("LORA"))
    refuse(file,
           "has peft_type = " + value("peft_type").dump() +
               ", and only LORA and ADALORA are implemented",
           "Train a LoRA adapter");
  refuse_what_is_not_known(file, config, adalora);

  refuse_changed_base(file, value("init_lora_weights"));
  AdapterConfig adapter;
  const json dora = value("use_dora");
  if (!is_empty(dora) && !dora.is_boolean())
    refuse(file, "use_dora is neither true nor false");
  adapter.kind = adalora              ? AdapterKind::kAdalora
                 : dora == json(true) ? AdapterKind::kDora
                                      : AdapterKind::kLora;
  if (const json dropout = value("lora_dropout"); !is_empty(dropout)) {
    const double rate = dropout.is_number() ? dropout.get<double>() : -1;
    if (!(rate >= 0 && rate < 1))
      refuse(file, "lora_dropout is no number from 0 up to, but not including, 1");
    adapter.dropout = rate;
  }
  const double rank =
      adalora ? static_cast<double>(initial_rank(file, config))
              : number_of(file, config.contains("r") ? value("r") : json(8), "r");
  if (rank != std::floor(rank) || rank > 1e6) refuse(file, "r is no count");
  adapter.rank = static_cast<int64_t>(rank);
  adapter.alpha = number_of(
      file, config.contains("lora_alpha") ? value("lora_alpha") : json(8), "lora_alpha");
  const json stabilized = value("use_rslora");
  if (!is_empty(stabilized) && !stabilized.is_boolean())
    refuse(file, "use_rslora is neither true nor false");
  adapter.rank_stabilized = stabilized == json(true);

  const SafetensorsFile tensors(folder / kTensors);
  std::set<std::string> adapted;
  std::vector<std::string> whole;
  std::map<std::string, double> ranks_found;
  for (const auto& [module, parts] : modules_in(tensors, adapter.kind)) {
    if (parts.whole) {
      whole.push_back(module);
      continue;
    }
    const char* missing =
        parts.a == nullptr              ? (adalora ? ".lora_A" : ".lora_A.weight")
        : parts.b == nullptr            ? (adalora ? ".lora_B" : ".lora_B.weight")
        : adalora && parts.e == nullptr ? ".lora_E"
        : adapter.kind == AdapterKind::kDora && parts.magnitude == nullptr
            ? ".lora_magnitude_vector"
            : nullptr;
    if (adapter.kind == AdapterKind::kLora && parts.magnitude != nullptr)
      refuse(tensors.path(), "holds a magnitude of " + module +
                                 ", and adapter_config.json says use_dora = false");
    if (missing != nullptr)
      refuse(tensors.path(), "lacks the tensor " + (kPrefix + module) + missing);
    if (parts.a->shape.size() != 2 || parts.b->shape.size() != 2 ||
        parts.a->shape[0] != parts.b->shape[1] ||
        (adalora && parts.e->shape != std::vector<int64_t>{parts.a->shape[0], 1}))
      refuse(tensors.path(),
             "has matrices of " + module + " that do not belong together");
    adapted.insert(module);
    ranks_found[module] = static_cast<double>(parts.a->shape[0]);
  }
  if (adapted.empty()) refuse(tensors.path(), "holds no adapter");
  check_targets(file, value("target_modules"), adapted);
  const auto ranks =
      adalora ? counts_of(triplets_in(file, config, adapted, adapter.rank))
              : numbers_of(file, value("rank_pattern"), "rank_pattern", adapted, rank);
  for (const auto& [module, number] : ranks)
    if (number != ranks_found[module])
      refuse(file, "gives " + module + " the rank " +
                       std::to_string(static_cast<int64_t>(number)) +
                       ", and the tensors have " +
                       std::to_string(static_cast<int64_t>(ranks_found[module])));
  if (!adalora) adapter.rank_pattern = patterns_of(ranks, rank);
  adapter.alpha_pattern = patterns_of(
      numbers_of(file, value("alpha_pattern"), "alpha_pattern", adapted, adapter.alpha),
      adapter.alpha);
  // A list means these modules and no others, as was seen; of an expression the tensors
  // say what it meant.
  if (const json targets = value("target_modules");
      targets.is_array() && is_empty(value("exclude_modules")))
    adapter.targets = targets.get<StringList>();
  else
    adapter.targets = {adapted.begin(), adapted.end()};
  std::sort(adapter.targets.begin(), adapter.targets.end());
  const json to_save = value("modules_to_save");
  if (is_empty(to_save) != whole.empty())
    refuse(file, whole.empty() ? "names modules_to_save, of which there are no tensors"
                               : "names no modules_to_save, and there are tensors of " +
                                     whole.front());
  check_saved(file, to_save, whole);
  adapter.also_train = whole;
  return adapter;
}

TripletsLeft read_triplets(const fs::path& folder, const std::set<std::string>& modules,
                           int64_t rank) {
  const fs::path file = folder / kConfig;
  return triplets_in(file, config_in(file), modules, rank);
}

}  // namespace lowmem::weights
