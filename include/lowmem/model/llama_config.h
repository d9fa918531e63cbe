#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "lowmem/weights/carried_files.h"
#include "lowmem/weights/spec.h"

namespace lowmem::model {

// How rotary frequencies are stretched for long contexts.
enum class RopeScaling {
  kNone,
  kLinear,  // every frequency divided by `factor`
  kLlama3,  // low frequencies divided, high ones kept, a ramp between (Llama 3.1)
};

// The part of a Hugging Face config.json that shapes a Llama.
struct LlamaConfig {
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_hidden_layers = 0;
  int64_t num_attention_heads = 0;
  int64_t num_key_value_heads = 0;
  int64_t head_dim = 0;
  int64_t max_position_embeddings = 2048;
  double rms_norm_eps = 1e-6;
  double initializer_range = 0.02;
  bool tie_word_embeddings = false;
  bool attention_bias = false;
  bool mlp_bias = false;

  double rope_theta = 10000.0;
  RopeScaling rope_scaling = RopeScaling::kNone;
  double rope_factor = 1.0;
  double rope_low_freq_factor = 1.0;
  double rope_high_freq_factor = 4.0;
  int64_t rope_original_max_position_embeddings = 8192;
};

// Reads config.json (`path` may be the file or its folder), in the form of any release of
// transformers: `rope_theta` and `rope_scaling`, or `rope_parameters`. Throws Error
// naming the key for anything missing, contradictory, or not implemented here: a key that
// could change the model is refused, never ignored.
LlamaConfig read_llama_config(const std::filesystem::path& path);

// Every weight of the model in file order. A tied head is not listed. O(layers).
std::vector<weights::Spec> weight_specs(const LlamaConfig& config);

// Elements over all of weight_specs().
int64_t parameter_count(const LlamaConfig& config);

// The name under which a layer's weights start: "model.layers.3."
std::string layer_prefix(int64_t layer);

}  // namespace lowmem::model
