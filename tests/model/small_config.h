// A small Llama's config.json, and what becomes of it with changes.
#pragma once

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "io/error_of.h"
#include "io/temp_folder.h"
#include "lowmem/core/files.h"
#include "lowmem/model/config.h"
#include "support/shared.h"

namespace lowmem::model {

using nlohmann::json;

inline json base() {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"model_type", "llama"},
          {"hidden_act", "silu"},
          {"vocab_size", 320},
          {"hidden_size", 32},
          {"intermediate_size", 88},
          {"num_hidden_layers", 2},
          {"num_attention_heads", 4},
          {"num_key_value_heads", 2},
          {"rope_theta", 500000.0}};
}

// The config of `base` with `changes` merged in; null takes a key out.
inline Config read(const json& changes) {
  const test::TempFolder folder;
  json config = base();
  config.merge_patch(changes);
  test::write_text(folder / "config.json", config.dump());
  return read_model_config(folder.path());
}

inline json linear() { return {{"rope_type", "linear"}, {"factor", 2.5}}; }
inline json llama3() {
  return {{"rope_type", "llama3"},
          {"factor", 8.0},
          {"low_freq_factor", 1.5},
          {"high_freq_factor", 5.0},
          {"original_max_position_embeddings", 64}};
}

inline json family(const char* model_type, const char* architecture) {
  return {{"model_type", model_type}, {"architectures", {architecture}}};
}
inline json merged(json base, const json& changes) {
  base.update(changes);
  return base;
}
inline json mistral() { return family("mistral", "MistralForCausalLM"); }
inline json qwen2() { return family("qwen2", "Qwen2ForCausalLM"); }
inline json qwen3() { return family("qwen3", "Qwen3ForCausalLM"); }
inline json smollm3() { return family("smollm3", "SmolLM3ForCausalLM"); }

}  // namespace lowmem::model
