// adapter_config.json of a PEFT folder, beside the tensors of several kinds of adapter.

#include <map>
#include <memory>
#include <set>
#include <vector>

#include "lowmem/io/safetensors_writer.h"
#include "lowmem/weights/adapter_settings.h"
#include "support.h"
#include "weights/adapter_files.h"

using namespace lowmem;

namespace {

constexpr int64_t kIn = 8, kOut = 4;

using Tensors = std::vector<TensorSpec>;
using Modules = std::map<std::string, int64_t>;  // and their ranks

void add(Tensors& to, const std::string& name, std::vector<int64_t> shape) {
  to.push_back({weights::kPrefix + name, DType::kF32, std::move(shape)});
}

// Of LoRA, and of DoRA with a magnitude.
Tensors pairs(const Modules& modules, bool magnitude = false) {
  Tensors all;
  for (const auto& [module, rank] : modules) {
    add(all, module + ".lora_A.weight", {rank, kIn});
    add(all, module + ".lora_B.weight", {kOut, rank});
    if (magnitude) add(all, module + ".lora_magnitude_vector", {kOut});
  }
  return all;
}

Tensors triplets(const Modules& modules) {
  Tensors all;
  for (const auto& [module, rank] : modules) {
    add(all, module + ".lora_A", {rank, kIn});
    add(all, module + ".lora_B", {kOut, rank});
    add(all, module + ".lora_E", {rank, 1});
  }
  return all;
}

// Two modules in each of two layers.
Modules modules(const std::string& one, const std::string& other, int64_t rank) {
  Modules all;
  for (const std::string& module : {one, other})
    for (const char* layer : {"model.layers.0.", "model.layers.1."})
      all[layer + module] = rank;
  return all;
}

const Modules kTriplets = modules("self_attn.o_proj", "mlp.up_proj", 4);

// Such that each of the corpus, which are the fixtures' files, is read beside one.
std::vector<Tensors> kinds() {
  Modules patterns = modules("mlp.down_proj", "self_attn.q_proj", 4);
  patterns["model.layers.1.mlp.down_proj"] = 6;
  for (const char* layer : {"model.layers.0.", "model.layers.1."})
    patterns[layer + std::string("self_attn.v_proj")] = 2;
  Tensors norm = pairs(modules("mlp.down_proj", "mlp.up_proj", 4));
  add(norm, "model.norm.weight", {kIn});
  Tensors head = pairs(
      {{"model.layers.0.self_attn.o_proj", 4}, {"model.layers.1.self_attn.o_proj", 4}});
  add(head, "lm_head.weight", {kOut, kIn});
  add(head, "model.embed_tokens.weight", {kOut, kIn});
  Modules fewer = kTriplets;
  fewer["model.layers.0.mlp.up_proj"] = 1;
  fewer["model.layers.0.self_attn.o_proj"] = 0;
  fewer["model.layers.1.mlp.up_proj"] = 0;
  fewer["model.layers.1.self_attn.o_proj"] = 3;
  return {pairs(modules("self_attn.q_proj", "self_attn.v_proj", 8)),
          pairs(patterns),
          norm,
          head,
          pairs(modules("mlp.down_proj", "self_attn.o_proj", 4), /*magnitude=*/true),
          triplets(kTriplets),
          triplets(fewer)};
}

class Folder : public fuzz::InputFolder {
 public:
  Folder(const Tensors& tensors, const fuzz::InputFile& config) {
    add(weights::kConfig, config);
    SafetensorsWriter file(path() / weights::kTensors, tensors);
    for (const TensorSpec& tensor : tensors) {
      int64_t count = 1;
      for (const int64_t size : tensor.shape) count *= size;
      const std::vector<std::byte> zeros(static_cast<size_t>(count) * sizeof(float));
      file.write(tensor.name, zeros);
    }
    file.finish();
  }
};

struct Inputs {
  fuzz::InputFile config;
  std::vector<std::unique_ptr<Folder>> folders;
  Inputs() {
    for (const Tensors& tensors : kinds())
      folders.push_back(std::make_unique<Folder>(tensors, config));
  }
};

void read(const std::filesystem::path& folder) {
  const AdapterConfig adapter = weights::read_adapter(folder);
  fuzz::require(adapter.kind != AdapterKind::kNone);
  fuzz::require(adapter.rank > 0 && adapter.alpha > 0);
  fuzz::require(adapter.dropout >= 0 && adapter.dropout < 1);
  fuzz::require(!adapter.targets.empty());
  fuzz::require(weights::read_adapter(folder) == adapter);
  if (adapter.kind != AdapterKind::kAdalora) return;
  std::set<std::string> names;
  for (const auto& [module, rank] : kTriplets) names.insert(module);
  const auto left = weights::read_triplets(folder, names, adapter.rank);
  fuzz::require(left.size() == names.size());
  for (const auto& [module, own] : left)
    fuzz::require(own.size() == static_cast<size_t>(adapter.rank));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Inputs inputs;
  inputs.config.write(fuzz::text_of(data, size));
  for (const auto& folder : inputs.folders)
    fuzz::only_errors([&] { read(folder->path()); });
  return 0;
}
