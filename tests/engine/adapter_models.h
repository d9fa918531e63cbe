#pragma once

// What tests of adapters share: a model with one beside it, from their folders.

#include "lowmem/weights/adapter_folder.h"
#include "lowmem/weights/adapter_start.h"
#include "lowmem/weights/quantized.h"
#include "support/training.h"

namespace lowmem::test {

inline const nlohmann::json& training_batches() {
  static const nlohmann::json file = read_json(fixture("training/batches.json"));
  return file;
}

inline std::unique_ptr<model::Llama> adapted(const std::string& model,
                                             const AdapterConfig& adapter,
                                             at::ScalarType dtype = at::kFloat,
                                             const ModelConfig& quantized = {},
                                             c10::Device device = c10::kCPU) {
  const auto folder = fixture("models") / model;
  const model::Config shape = model::read_model_config(folder);
  model::ModelOptions options{dtype, dtype, device};
  for (const auto& layer : weights::adapter_layers(model::weight_specs(shape), adapter))
    options.adapted[layer.module] = layer;
  RunConfig config;
  config.model = quantized;
  config.adapter = adapter;
  auto table = std::make_shared<weights::Table>(
      weights::with_quantized(weights::with_adapter(model::weight_specs(shape), adapter),
                              config),
      dtype == at::kFloat ? DType::kF32 : DType::kBF16);
  table->allocate(device);
  auto llama = std::make_unique<model::Llama>(shape, options, table);
  weights::load(*home_of(*llama), folder);
  return llama;
}

// What a configuration with the adapter trains.
inline std::vector<std::string> trained_by(const AdapterConfig& adapter) {
  std::vector<std::string> patterns = {"*.lora_A*", "*.lora_B*"};
  if (adapter.kind == AdapterKind::kDora) patterns.push_back("*.lora_magnitude_vector");
  if (adapter.kind == AdapterKind::kAdalora) patterns.push_back("*.lora_E");
  for (const std::string& module : adapter.also_train)
    patterns.push_back(module + ".weight");
  return patterns;
}

inline OptimizerConfig adamw(double lr = 1e-3) {
  OptimizerConfig config;
  config.name = OptimizerKind::kAdamW;
  config.lr = lr;
  config.weight_decay = 0.01;
  return config;
}

// Each token's place in the batch, for the step's draws.
inline void number_tokens(std::vector<engine::MicroBatch>& parts, uint32_t step) {
  int64_t before = 0;
  for (engine::MicroBatch& part : parts) {
    const int64_t tokens = part.packed.tokens();
    const at::Tensor places =
        at::arange(before, before + part.packed.ids.size(0), part.packed.ids.options());
    part.packed.draw = model::Draw{11, step, places};
    part.rows.draw = model::Draw{11, step, places.index_select(0, part.rows.index)};
    before += tokens;
  }
}

}  // namespace lowmem::test
