// The weights of a Llama as Hugging Face names and shapes them.
#include <functional>
#include <numeric>

#include "lowmem/model/llama_config.h"

namespace lowmem::model {

std::string layer_prefix(int64_t layer) {
  return "model.layers." + std::to_string(layer) + ".";
}

int64_t WeightSpec::elements() const {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

std::vector<WeightSpec> weight_specs(const LlamaConfig& config) {
  std::vector<WeightSpec> specs;
  const int64_t hidden = config.hidden_size, inner = config.intermediate_size;
  const int64_t query = config.num_attention_heads * config.head_dim;
  const int64_t key_value = config.num_key_value_heads * config.head_dim;

  const auto linear = [&](const std::string& name, int64_t out, int64_t in, bool bias) {
    specs.push_back({name + ".weight", {out, in}, WeightKind::kMatrix});
    if (bias) specs.push_back({name + ".bias", {out}, WeightKind::kBias});
  };
  const auto norm = [&](const std::string& name) {
    specs.push_back({name + ".weight", {hidden}, WeightKind::kNorm});
  };

  linear("model.embed_tokens", config.vocab_size, hidden, false);
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    const std::string at = layer_prefix(layer);
    norm(at + "input_layernorm");
    linear(at + "self_attn.q_proj", query, hidden, config.attention_bias);
    linear(at + "self_attn.k_proj", key_value, hidden, config.attention_bias);
    linear(at + "self_attn.v_proj", key_value, hidden, config.attention_bias);
    linear(at + "self_attn.o_proj", hidden, query, config.attention_bias);
    norm(at + "post_attention_layernorm");
    linear(at + "mlp.gate_proj", inner, hidden, config.mlp_bias);
    linear(at + "mlp.up_proj", inner, hidden, config.mlp_bias);
    linear(at + "mlp.down_proj", hidden, inner, config.mlp_bias);
  }
  norm("model.norm");
  if (!config.tie_word_embeddings) linear("lm_head", config.vocab_size, hidden, false);
  return specs;
}

int64_t parameter_count(const LlamaConfig& config) {
  int64_t total = 0;
  for (const WeightSpec& spec : weight_specs(config)) total += spec.elements();
  return total;
}

}  // namespace lowmem::model
