#include "lowmem/model/layers.h"

#include <ATen/ATen.h>

#include "lowmem/ops/attention.h"
#include "lowmem/ops/linear.h"
#include "lowmem/ops/rms_norm.h"
#include "lowmem/ops/rotary.h"
#include "lowmem/ops/swiglu_linear.h"

namespace lowmem::model {

Linear::Linear(int64_t in, int64_t out, bool with_bias, ModelOptions options)
    : compute_(options.compute) {
  // Uninitialised: weights come from a file, or from a caller's random numbers.
  weight = register_parameter("weight", at::empty({out, in}, options.tensor()), false);
  if (with_bias)
    bias = register_parameter("bias", at::empty({out}, options.tensor()), false);
}

at::Tensor Linear::forward(const ops::LinearInput& x) const {
  return ops::linear(x, weight, bias, compute_);
}

RmsNorm::RmsNorm(int64_t size, double eps, ModelOptions options)
    : eps_(eps), compute_(options.compute) {
  weight = register_parameter("weight", at::empty({size}, options.tensor()), false);
}

ops::LinearInput RmsNorm::forward(const at::Tensor& x) const {
  return ops::LinearInput::norm(x, weight, eps_, compute_);
}

Attention::Attention(const LlamaConfig& config, ModelOptions options)
    : head_dim_(config.head_dim), mode_(options.attention) {
  const int64_t hidden = config.hidden_size;
  const int64_t query = config.num_attention_heads * head_dim_;
  const int64_t key_value = config.num_key_value_heads * head_dim_;
  const auto linear = [&](const char* name, int64_t in, int64_t out) {
    return register_module(
        name, std::make_shared<Linear>(in, out, config.attention_bias, options));
  };
  q_proj_ = linear("q_proj", hidden, query);
  k_proj_ = linear("k_proj", hidden, key_value);
  v_proj_ = linear("v_proj", hidden, key_value);
  o_proj_ = linear("o_proj", query, hidden);
}

at::Tensor Attention::forward(const ops::LinearInput& x, const Packed& packed,
                              const Rows* rows) const {
  const auto heads = [&](const at::Tensor& flat) {
    return flat.view({flat.size(0), flat.size(1) / head_dim_, head_dim_});
  };
  const at::Tensor k = ops::rotary(heads(k_proj_->forward(x)), packed.cos, packed.sin);
  const at::Tensor v = heads(v_proj_->forward(x));
  if (rows == nullptr) {
    const at::Tensor q = ops::rotary(heads(q_proj_->forward(x)), packed.cos, packed.sin);
    return ops::attention_linear(q, k, v, packed.spans, o_proj_->weight, o_proj_->bias,
                                 mode_);
  }
  const at::Tensor asking = x.value.index_select(0, rows->index);
  const at::Tensor q = ops::rotary(heads(q_proj_->forward(asking)), rows->cos, rows->sin);
  return ops::attention_linear(q, k, v, rows->spans, o_proj_->weight, o_proj_->bias,
                               mode_);
}

Mlp::Mlp(const LlamaConfig& config, ModelOptions options) {
  const int64_t hidden = config.hidden_size, inner = config.intermediate_size;
  const auto linear = [&](const char* name, int64_t in, int64_t out) {
    return register_module(name,
                           std::make_shared<Linear>(in, out, config.mlp_bias, options));
  };
  gate_proj_ = linear("gate_proj", hidden, inner);
  up_proj_ = linear("up_proj", hidden, inner);
  down_proj_ = linear("down_proj", inner, hidden);
}

at::Tensor Mlp::forward(const ops::LinearInput& x, ops::Output output) const {
  return ops::swiglu_linear(gate_proj_->forward(x), up_proj_->forward(x),
                            down_proj_->weight, down_proj_->bias, output);
}

Block::Block(const LlamaConfig& config, ModelOptions options)
    : replays_(ops::attention_replays(
          options.attention, {options.device, options.compute, config.head_dim})) {
  const auto norm = [&](const char* name) {
    return register_module(name, std::make_shared<RmsNorm>(config.hidden_size,
                                                           config.rms_norm_eps, options));
  };
  input_layernorm_ = norm("input_layernorm");
  self_attn_ = register_module("self_attn", std::make_shared<Attention>(config, options));
  post_attention_layernorm_ = norm("post_attention_layernorm");
  mlp_ = register_module("mlp", std::make_shared<Mlp>(config, options));
}

at::Tensor Block::forward(const at::Tensor& hidden, const Packed& packed,
                          const Rows* rows, ops::Output output) const {
  const at::Tensor own = rows == nullptr ? hidden : hidden.index_select(0, rows->index);
  const at::Tensor mixed =
      own + self_attn_->forward(input_layernorm_->forward(hidden), packed, rows);
  return mixed + mlp_->forward(post_attention_layernorm_->forward(mixed), output);
}

}  // namespace lowmem::model
