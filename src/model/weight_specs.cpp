// The weights of a model as Hugging Face names and shapes them.
#include <span>
#include <utility>

#include "lowmem/model/config.h"

namespace lowmem::model {

using weights::Kind, weights::Spec;

std::string layer_prefix(int64_t layer) {
  return "model.layers." + std::to_string(layer) + ".";
}

std::vector<Spec> weight_specs(const Config& config) {
  std::vector<Spec> specs;
  size_t group = 0;
  const int64_t hidden = config.hidden_size, inner = config.intermediate_size;
  const int64_t query = config.num_attention_heads * config.head_dim;
  const int64_t key_value = config.num_key_value_heads * config.head_dim;

  const auto linear = [&](const std::string& name, int64_t out, int64_t in, bool bias) {
    specs.push_back({name + ".weight", {out, in}, Kind::kMatrix, group});
    if (bias) specs.push_back({name + ".bias", {out}, Kind::kBias, group});
  };
  const auto norm = [&](const std::string& name, int64_t size) {
    specs.push_back({name + ".weight", {size}, Kind::kNorm, group});
  };
  // The last `count` matrices are one in files.
  const auto join = [&](int64_t count, const std::string& name) {
    const std::span parts = std::span(specs).last(static_cast<size_t>(count));
    int64_t rows = 0;
    for (const Spec& part : parts) rows += part.shape[0];
    int64_t first = 0;
    for (Spec& part : parts) {
      part.joined = name + ".weight";
      part.joined_first = std::exchange(first, first + part.shape[0]);
      part.joined_rows = rows;
    }
  };
  const bool qkv_bias = config.attention_bias || config.query_key_value_bias;

  linear("model.embed_tokens", config.vocab_size, hidden, false);
  if (config.tie_word_embeddings) specs.back().alias = "lm_head.weight";
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    ++group;
    const std::string at = layer_prefix(layer);
    norm(at + "input_layernorm", hidden);
    linear(at + "self_attn.q_proj", query, hidden, qkv_bias);
    linear(at + "self_attn.k_proj", key_value, hidden, qkv_bias);
    linear(at + "self_attn.v_proj", key_value, hidden, qkv_bias);
    if (config.fused_names) join(3, at + "self_attn.qkv_proj");
    linear(at + "self_attn.o_proj", hidden, query, config.attention_bias);
    if (config.head_norms) {
      norm(at + "self_attn.q_norm", config.head_dim);
      norm(at + "self_attn.k_norm", config.head_dim);
    }
    norm(at + "post_attention_layernorm", hidden);
    linear(at + "mlp.gate_proj", inner, hidden, config.mlp_bias);
    linear(at + "mlp.up_proj", inner, hidden, config.mlp_bias);
    if (config.fused_names) join(2, at + "mlp.gate_up_proj");
    linear(at + "mlp.down_proj", hidden, inner, config.mlp_bias);
  }
  ++group;
  norm("model.norm", hidden);
  if (!config.tie_word_embeddings) linear("lm_head", config.vocab_size, hidden, false);
  return specs;
}

int64_t parameter_count(const Config& config) {
  int64_t total = 0;
  for (const Spec& spec : weight_specs(config)) total += spec.elements();
  return total;
}

}  // namespace lowmem::model
