#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "adapter_files.h"
#include "adapter_triplets.h"
#include "fewer_triplets.h"
#include "lowmem/core/files.h"
#include "lowmem/io/atomic_file.h"
#include "lowmem/io/safetensors_writer.h"
#include "lowmem/io/sync.h"
#include "lowmem/weights/adapter_folder.h"
#include "lowmem/weights/adapter_start.h"
#include "lowmem/weights/quantized.h"
#include "lowmem/weights/rank_budget.h"

namespace lowmem::weights {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// What common ends the modules have: all of a kind are named by that.
StringList names_of(const std::vector<std::string>& modules,
                    const std::vector<std::string>& all) {
  std::set<std::string> chosen(modules.begin(), modules.end());
  StringList names;
  std::set<std::string> ends;
  for (const std::string& module : modules)
    ends.insert(module.substr(module.rfind('.') + 1));
  for (const std::string& end : ends) {
    const bool whole =
        std::all_of(all.begin(), all.end(), [&](const std::string& module) {
          return !means_module(end, module) || chosen.contains(module);
        });
    if (whole) {
      names.push_back(end);
      continue;
    }
    for (const std::string& module : modules)
      if (means_module(end, module)) names.push_back(module);
  }
  return names;
}

void write_tensor(SafetensorsWriter& writer, const std::string& name,
                  const at::Tensor& numbers) {
  writer.write(
      name, {static_cast<const std::byte*>(numbers.const_data_ptr()), numbers.nbytes()});
}

// A pair's tensor with what the pair began with behind it: rows of A, columns of B.
void write_joined(SafetensorsWriter& writer, const std::string& name,
                  const at::Tensor& now, const at::Tensor& start, int64_t dim) {
  write_tensor(writer, name, at::cat({now.detach().cpu(), start}, dim).contiguous());
}

}  // namespace

void save_adapter(Home& home, const AdapterConfig& given, const std::string& base,
                  const fs::path& folder, const Ending& ending) {
  const fs::path& start = ending.start;
  Table& table = home.table();
  const std::vector<Spec> specs = model_specs(table);
  const AdapterConfig adapter = start.empty() ? given : beside_whole_base(given);
  const std::vector<AdapterLayer> layers = adapter_layers(specs, given);
  std::vector<std::string> all_modules;
  for (const Spec& spec : specs)
    if (spec.kind == Kind::kMatrix && spec.name.starts_with("model.layers."))
      all_modules.push_back(module_of(spec.name));
  std::vector<const Weight*> held;
  for (const Weight& weight : table.all())
    if (weight.trained) held.push_back(&weight);
  std::vector<std::string> modules;
  std::map<std::string, double> ranks, alphas;
  std::map<std::string, const AdapterLayer*> joined;  // by the names of their matrices
  for (const AdapterLayer& layer : adapter_layers(specs, adapter)) {
    modules.push_back(layer.module);
    ranks[layer.module] = static_cast<double>(layer.rank);
    alphas[layer.module] = layer.alpha;
  }
  if (!start.empty())
    for (const AdapterLayer& layer : layers)
      for (const std::string& name : {layer.a(), layer.b()}) joined[name] = &layer;
  std::set<std::string> whole;
  for (const Weight* weight : held)
    if (!weight->spec.adapter) whole.insert(module_of(weight->name()));
  const auto pattern = [](const std::map<std::string, double>& numbers, double common) {
    json found = json::object();
    for (const auto& [module, number] : numbers) {
      if (number == common) continue;
      if (number == std::floor(number))
        found[module] = static_cast<int64_t>(number);
      else
        found[module] = number;
    }
    return found;
  };
  const auto alpha = adapter.alpha == std::floor(adapter.alpha)
                         ? json(static_cast<int64_t>(adapter.alpha))
                         : json(adapter.alpha);
  const TripletsLeft left = triplets_left(table, adapter);
  json config = {{"alpha_pattern", pattern(alphas, adapter.alpha)},
                 {"auto_mapping", nullptr},
                 {"base_model_name_or_path", base},
                 {"bias", "none"},
                 {"exclude_modules", nullptr},
                 {"fan_in_fan_out", false},
                 {"inference_mode", true},
                 {"init_lora_weights", true},
                 {"layers_pattern", nullptr},
                 {"layers_to_transform", nullptr},
                 {"lora_alpha", alpha},
                 {"lora_bias", false},
                 {"lora_dropout", adapter.dropout},
                 {"modules_to_save", whole.empty() ? json() : json(whole)},
                 {"peft_type", "LORA"},
                 // PEFT's own default where the triplets have a key of theirs.
                 {"r", adapter.kind == AdapterKind::kAdalora ? 8 : adapter.rank},
                 {"rank_pattern", pattern(ranks, static_cast<double>(adapter.rank))},
                 {"revision", nullptr},
                 {"target_modules", names_of(modules, all_modules)},
                 {"task_type", "CAUSAL_LM"},
                 {"use_dora", adapter.kind == AdapterKind::kDora},
                 {"use_rslora", adapter.rank_stabilized}};
  if (adapter.kind == AdapterKind::kAdalora)
    config.update(triplets_config(adapter, left, ending.steps));
  make_folders(folder);
  write_file_atomically(folder / kConfig, config.dump(2) + "\n");

  // Wider types first, so that each is aligned; of one width in the table's order.
  std::stable_sort(held.begin(), held.end(), [](const Weight* a, const Weight* b) {
    return dtype_size(a->format) > dtype_size(b->format);
  });
  std::vector<TensorSpec> tensors;
  for (const Weight* weight : held) {
    std::vector<int64_t> shape = weight->spec.shape;
    if (const auto layer = joined.find(weight->name()); layer != joined.end())
      shape[weight->name() == layer->second->a() ? 0 : 1] *= 2;
    if (const auto own = left.find(module_of(weight->name())); own != left.end())
      shape = FewerTriplets(weight->spec, own->second).shape();
    tensors.push_back({kPrefix + weight->name(), weight->format, std::move(shape)});
  }
  SafetensorsWriter writer(folder / kTensors, tensors);
  for (const Weight* weight : held) {
    const Lease lease = home.borrow(weight->spec.group, Access::kRead);
    if (const auto layer = joined.find(weight->name()); layer != joined.end()) {
      const StartPair pair = read_start(start, *layer->second);
      const bool first = weight->name() == layer->second->a();
      write_joined(writer, kPrefix + weight->name(), weight->here,
                   first ? pair.a : pair.b.neg(), first ? 0 : 1);
      continue;
    }
    if (const auto own = left.find(module_of(weight->name())); own != left.end()) {
      write_tensor(writer, kPrefix + weight->name(),
                   FewerTriplets(weight->spec, own->second).taken_from(weight->here));
      continue;
    }
    home.read(*weight, [&](std::span<const std::byte> piece) {
      writer.write(kPrefix + weight->name(), piece);
    });
  }
  writer.finish();
}

}  // namespace lowmem::weights
