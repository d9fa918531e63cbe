#pragma once

// What tests of optimizers and of training share: the batches and settings of
// tests/fixtures/training.

#include <algorithm>

#include "lowmem/config/overrides.h"
#include "lowmem/engine/step.h"
#include "support/tensors.h"

namespace lowmem::test {

// Sequences of batches.json as one micro-batch.
inline engine::MicroBatch micro_batch(const model::Llama& llama,
                                      const nlohmann::json& sequences) {
  std::vector<std::vector<int32_t>> ids;
  std::vector<int64_t> labelled, labels;
  int64_t token = 0;
  for (const nlohmann::json& sequence : sequences) {
    ids.push_back(sequence.at("ids").get<std::vector<int32_t>>());
    for (const int64_t label : sequence.at("labels").get<std::vector<int64_t>>()) {
      if (label >= 0) {
        labelled.push_back(token);
        labels.push_back(label);
      }
      ++token;
    }
  }
  return {pack(llama, ids), at::tensor(labelled, at::kLong),
          at::tensor(labels, at::kLong)};
}

// A batch of batches.json, `size` sequences a micro-batch.
inline std::vector<engine::MicroBatch> micro_batches(const model::Llama& llama,
                                                     const nlohmann::json& batch,
                                                     size_t size) {
  std::vector<engine::MicroBatch> parts;
  for (size_t at = 0; at < batch.size(); at += size) {
    nlohmann::json part = nlohmann::json::array();
    for (size_t k = at; k < std::min(batch.size(), at + size); ++k)
      part.push_back(batch[k]);
    parts.push_back(micro_batch(llama, part));
  }
  return parts;
}

// The `optimizer` of a reference file, and its `schedule` where it has one.
inline OptimizerConfig optimizer_config(const nlohmann::json& curve) {
  RunConfig config;
  for (const auto& [key, value] : curve.at("optimizer").items()) {
    const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
    if (key == "betas") {
      config.optimizer.beta1 = value[0].get<double>();
      config.optimizer.beta2 = value[1].get<double>();
    } else {
      set_key(config, "optimizer." + key, text);
    }
  }
  if (curve.contains("schedule") && !curve.at("schedule").is_null()) {
    const nlohmann::json& schedule = curve.at("schedule");
    set_key(config, "optimizer.schedule", schedule.at("name").get<std::string>());
    config.optimizer.warmup_steps = schedule.value("warmup_steps", 0);
  }
  return config.optimizer;
}

}  // namespace lowmem::test
