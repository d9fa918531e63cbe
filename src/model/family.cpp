#include "lowmem/model/family.h"

#include <algorithm>

namespace lowmem::model {
namespace {

using Window = Family::Window;

constexpr Family kFamilies[] = {
    {.model_type = "llama",
     .architecture = "LlamaForCausalLM",
     .keys = {"attention_bias", "mlp_bias"}},
    {.model_type = "mistral",
     .architecture = "MistralForCausalLM",
     .keys = {"sliding_window"},
     .max_position_embeddings = 4096 * 32,
     .num_key_value_heads = 8,
     .sliding_window = 4096,
     .window = Window::kEvery},
    {.model_type = "qwen2",
     .architecture = "Qwen2ForCausalLM",
     .keys = {"sliding_window", "use_sliding_window", "max_window_layers", "layer_types"},
     .max_position_embeddings = 32768,
     .num_key_value_heads = 32,
     .sliding_window = 4096,
     .window = Window::kUpper,
     .query_key_value_bias = true},
    {.model_type = "qwen3",
     .architecture = "Qwen3ForCausalLM",
     .keys = {"attention_bias", "sliding_window", "use_sliding_window",
              "max_window_layers", "layer_types"},
     .max_position_embeddings = 32768,
     .num_key_value_heads = 32,
     .head_dim = 128,
     .sliding_window = 4096,
     .window = Window::kUpper,
     .head_norms = true},
    {.model_type = "granite",
     .architecture = "GraniteForCausalLM",
     .keys = {"attention_bias", "mlp_bias", "embedding_multiplier",
              "attention_multiplier", "residual_multiplier", "logits_scaling"}},
    {.model_type = "smollm3",
     .architecture = "SmolLM3ForCausalLM",
     .keys = {"attention_bias", "mlp_bias", "sliding_window", "use_sliding_window",
              "layer_types", "no_rope_layers", "no_rope_layer_interval"},
     .rope_theta = 2e6,
     .max_position_embeddings = 32768,
     .num_key_value_heads = 4,
     .tie_word_embeddings = true,
     .window = Window::kWithoutRotary},
    {.model_type = "phi3",
     .architecture = "Phi3ForCausalLM",
     .keys = {"sliding_window"},
     .rms_norm_eps = 1e-5,
     .max_position_embeddings = 4096,
     .window = Window::kEvery,
     .fused_names = true},
};

const Family* find(std::string_view Family::*member, std::string_view value) {
  const auto* found =
      std::find_if(std::begin(kFamilies), std::end(kFamilies),
                   [&](const Family& family) { return family.*member == value; });
  return found == std::end(kFamilies) ? nullptr : found;
}

}  // namespace

bool Family::reads(std::string_view key) const {
  return !key.empty() && std::find(keys.begin(), keys.end(), key) != keys.end();
}

std::span<const Family> families() { return kFamilies; }

const Family* find_family(std::string_view model_type) {
  return find(&Family::model_type, model_type);
}

const Family* find_architecture(std::string_view architecture) {
  return find(&Family::architecture, architecture);
}

std::string family_names() {
  std::string names;
  for (const Family& family : kFamilies)
    names += (names.empty() ? "" : ", ") + std::string(family.model_type);
  return names;
}

}  // namespace lowmem::model
