#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "lowmem/model/family.h"
#include "lowmem/weights/carried_files.h"
#include "lowmem/weights/spec.h"

namespace lowmem::model {

// How rotary frequencies are stretched for long contexts.
enum class RopeScaling {
  kNone,
  kLinear,  // every frequency divided by `factor`
  kLlama3,  // low frequencies divided, high ones kept, a ramp between (Llama 3.1)
};

// The part of a Hugging Face config.json that shapes a model, of any family: a Llama
// where nothing says otherwise.
struct Config {
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
  bool attention_bias = false;        // on q, k, v and o
  bool query_key_value_bias = false;  // on q, k and v
  bool mlp_bias = false;
  bool head_norms = false;   // q and k go through a norm over head_dim, each
  bool fused_names = false;  // files have q, k, v as one tensor, and gate and up

  double rope_theta = 10000.0;
  RopeScaling rope_scaling = RopeScaling::kNone;
  double rope_factor = 1.0;
  double rope_low_freq_factor = 1.0;
  double rope_high_freq_factor = 4.0;
  int64_t rope_original_max_position_embeddings = 8192;

  double embedding_multiplier = 1;
  double attention_multiplier = 0;  // of the scores; 0: 1 / sqrt(head_dim)
  double residual_multiplier = 1;   // of what a block adds
  double logits_scaling = 1;        // what logits are divided by

  // Tokens that a query sees, its own the last of them, in layers with a window; 0: all.
  int64_t sliding_window = 0;
  struct Layer {
    bool rotary = true;
    bool window = false;
    bool operator==(const Layer&) const = default;
  };
  std::vector<Layer> layers;  // one each; empty: all alike
  Layer layer(int64_t i) const {
    return layers.empty() ? Layer{} : layers[static_cast<size_t>(i)];
  }

  bool operator==(const Config&) const = default;
};

// Reads config.json (`path` may be the file or its folder), in the form of any release of
// transformers: `rope_theta` and `rope_scaling`, or `rope_parameters`; of any family of
// model/family.h. Throws Error naming the key for anything missing, contradictory, or not
// implemented here: a key that could change the model is refused, never ignored.
Config read_model_config(const std::filesystem::path& path);

// Throws Error naming the key of config.json (`path` as above) that asks for dropout: the
// model computes without it, and so does training here. Whoever does not train need not
// ask.
void refuse_dropout(const std::filesystem::path& path);

// Every weight of the model in file order. A tied head is not listed. O(layers).
std::vector<weights::Spec> weight_specs(const Config& config);

// Elements over all of weight_specs().
int64_t parameter_count(const Config& config);

// The name under which a layer's weights start: "model.layers.3."
std::string layer_prefix(int64_t layer);

}  // namespace lowmem::model
