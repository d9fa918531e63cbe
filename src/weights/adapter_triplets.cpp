#include "adapter_triplets.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "lowmem/config/rules.h"
#include "lowmem/core/error.h"

namespace lowmem::weights {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kEnding = ".lora_E";  // of a pattern's names

// The least that PEFT takes.
constexpr std::array<std::pair<const char*, double>, 8> kKeys = {
    {{"init_r", 1},
     {"target_r", 0},
     {"tinit", 0},
     {"tfinal", 0},
     {"deltaT", 1},
     {"beta1", 0},
     {"beta2", 0},
     {"orth_reg_weight", 0}}};

[[noreturn]] void refuse(const fs::path& file, const std::string& problem) {
  throw Error(file.string(), problem, "Repair the file, or fetch the folder again");
}

std::vector<bool> booleans(const fs::path& file, const std::string& module,
                           const json& given, int64_t rank) {
  std::vector<bool> found;
  if (given.is_array())
    for (const json& each : given)
      if (each.is_boolean()) found.push_back(each.get<bool>());
  if (!given.is_array() || found.size() != given.size() ||
      found.size() != static_cast<size_t>(rank))
    refuse(file, "rank_pattern of " + module +
                     " is not init_r = " + std::to_string(rank) + " times true or false");
  return found;
}

}  // namespace

bool is_triplets_key(const std::string& key) {
  return key == "total_step" ||
         std::any_of(kKeys.begin(), kKeys.end(),
                     [&](const auto& known) { return key == known.first; });
}

int64_t initial_rank(const fs::path& file, const json& config) {
  for (const auto& [key, least] : kKeys) {
    const auto found = config.find(key);
    if (found == config.end()) continue;
    const double number = found->is_number() ? found->get<double>() : -1;
    if (!(number >= least) || !std::isfinite(number))
      refuse(file, std::string(key) + " is no number of at least " +
                       std::to_string(static_cast<int>(least)));
  }
  const double rank = config.value("init_r", 12.0);
  if (rank != std::floor(rank) || rank > 1e6) refuse(file, "init_r is no count");
  return static_cast<int64_t>(rank);
}

TripletsLeft triplets_in(const fs::path& file, const json& config,
                         const std::set<std::string>& modules, int64_t rank) {
  TripletsLeft left;
  const auto pattern = config.find("rank_pattern");
  if (pattern == config.end() || pattern->is_null() ||
      (pattern->is_object() && pattern->empty())) {
    for (const std::string& module : modules)
      left[module].assign(static_cast<size_t>(rank), true);
    return left;
  }
  if (!pattern->is_object()) refuse(file, "rank_pattern is no object");
  for (const auto& [name, given] : pattern->items()) {
    const std::string module =
        name.ends_with(kEnding)
            ? name.substr(0, name.size() - std::string(kEnding).size())
            : "";
    if (!modules.contains(module))
      refuse(file, "rank_pattern has " + name + ", of which the tensors hold nothing");
    left[module] = booleans(file, module, given, rank);
  }
  for (const std::string& module : modules)
    if (!left.contains(module)) refuse(file, "rank_pattern says nothing of " + module);
  return left;
}

json triplets_config(const AdapterConfig& adapter, const TripletsLeft& left,
                     int64_t steps) {
  json pattern = json::object();
  bool fewer = false;
  for (const auto& [module, own] : left) {
    pattern[module + kEnding] = own;
    fewer = fewer || std::find(own.begin(), own.end(), false) != own.end();
  }
  // PEFT wants steps that the schedule fits.
  return {{"peft_type", "ADALORA"},
          {"init_r", adapter.rank},
          {"target_r", target_rank(adapter)},
          {"tinit", adapter.tinit},
          {"tfinal", adapter.tfinal},
          {"deltaT", adapter.delta_t},
          {"beta1", adapter.beta1},
          {"beta2", adapter.beta2},
          {"orth_reg_weight", adapter.orth_reg_weight},
          {"total_step", std::max(steps, adapter.tinit + adapter.tfinal + 1)},
          {"rank_pattern", fewer ? pattern : json()}};
}

}  // namespace lowmem::weights
