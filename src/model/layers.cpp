#include "lowmem/model/layers.h"

#include <ATen/ATen.h>

#include "lowmem/ops/attention.h"
#include "lowmem/ops/linear.h"
#include "lowmem/ops/rms_norm.h"
#include "lowmem/ops/rotary.h"
#include "lowmem/ops/swiglu_linear.h"
#include "lowmem/weights/quantized.h"

namespace lowmem::model {

Linear::Linear(weights::Table& table, const std::string& name,
               const ModelOptions& options)
    : compute_(options.compute) {
  weight_.matrix = weights::matrix_of(table, name);
  register_parameter("weight", weight_.matrix.numbers, false);
  if (const auto* bias = table.find(name + ".bias"))
    weight_.bias = register_parameter("bias", bias->here, false);
  const auto adapted = options.adapted.find(name);
  if (adapted == options.adapted.end()) return;
  const weights::AdapterLayer& layer = adapted->second;
  weight_.low_rank = {table.at(layer.a()).here, table.at(layer.b()).here, layer.scale};
  if (layer.magnitude) weight_.low_rank.magnitude = table.at(layer.m()).here;
  if (layer.values) values_ = table.at(layer.e()).here;
  dropout_ = layer.dropout;
  index_ = layer.index;
}

at::Tensor Linear::forward(const ops::LinearInput& x,
                           const std::optional<Draw>& draw) const {
  return ops::linear(x, weight(draw), compute_);
}

ops::LinearWeight Linear::weight(const std::optional<Draw>& draw) const {
  ops::LinearWeight weight = weight_;
  ops::LowRank& pair = weight.low_rank;
  if (values_.defined()) pair.a = ops::scaled_rows(pair.a, values_);
  if (pair.magnitude.defined()) pair.norm = norms_.of_sum(weight.matrix, pair);
  if (draw && dropout_ > 0) {
    constexpr uint32_t kApart = uint32_t{1} << 31;  // from the roundings' draws
    pair.dropout = {dropout_, {draw->seed, draw->step, kApart | index_}, draw->tokens};
  }
  return weight;
}

RmsNorm::RmsNorm(weights::Table& table, const std::string& name, double eps,
                 const ModelOptions& options)
    : weight_(register_parameter("weight", table.at(name + ".weight").here, false)),
      eps_(eps),
      compute_(options.compute) {}

ops::LinearInput RmsNorm::forward(const at::Tensor& x) const {
  return ops::LinearInput::norm(x, weight_, eps_, compute_);
}

HeadNorm::HeadNorm(weights::Table& table, const std::string& name, double eps)
    : weight_(register_parameter("weight", table.at(name + ".weight").here, false)),
      eps_(eps) {}

ops::Heads HeadNorm::forward(const at::Tensor& x, const at::Tensor& cos,
                             const at::Tensor& sin) const {
  return ops::Heads::normed(x, weight_, eps_, cos, sin);
}

Attention::Attention(weights::Table& table, const std::string& name, const Config& config,
                     Config::Layer layer, const ModelOptions& options)
    : head_dim_(config.head_dim),
      rotary_(layer.rotary),
      window_(layer.window && config.sliding_window > 0),
      rule_(options.attention, config.attention_multiplier) {
  const auto linear = [&](const std::string& part) {
    return register_module(part,
                           std::make_shared<Linear>(table, name + "." + part, options));
  };
  q_proj_ = linear("q_proj");
  k_proj_ = linear("k_proj");
  v_proj_ = linear("v_proj");
  o_proj_ = linear("o_proj");
  if (!config.head_norms) return;
  const auto norm = [&](const std::string& part) {
    return register_module(
        part, std::make_shared<HeadNorm>(table, name + "." + part, config.rms_norm_eps));
  };
  q_norm_ = norm("q_norm");
  k_norm_ = norm("k_norm");
}

ops::Heads Attention::heads(const at::Tensor& flat, const std::shared_ptr<HeadNorm>& norm,
                            const at::Tensor& cos, const at::Tensor& sin) const {
  const at::Tensor apart = flat.view({flat.size(0), flat.size(1) / head_dim_, head_dim_});
  if (norm)
    return rotary_ ? norm->forward(apart, cos, sin) : norm->forward(apart, {}, {});
  return rotary_ ? ops::rotary(apart, cos, sin) : apart;
}

at::Tensor Attention::forward(const ops::LinearInput& x, const Packed& packed,
                              const Rows* rows) const {
  const ops::Heads k =
      heads(k_proj_->forward(x, packed.draw), k_norm_, packed.cos, packed.sin);
  const at::Tensor flat = v_proj_->forward(x, packed.draw);
  const at::Tensor v = flat.view({flat.size(0), flat.size(1) / head_dim_, head_dim_});
  const auto attend = [&](const ops::Heads& q, const auto& tokens) {
    const ops::LinearWeight weight = o_proj_->weight(tokens.draw);
    if (!tokens.groups[0].empty())
      return ops::attention_linear(q, k, v, tokens.groups, weight, rule_);
    return ops::attention_linear(q, k, v, window_ ? tokens.window_spans : tokens.spans,
                                 weight, rule_);
  };
  if (rows == nullptr)
    return attend(
        heads(q_proj_->forward(x, packed.draw), q_norm_, packed.cos, packed.sin), packed);
  const at::Tensor asking = x.value.index_select(0, rows->index);
  return attend(
      heads(q_proj_->forward(asking, rows->draw), q_norm_, rows->cos, rows->sin), *rows);
}

Mlp::Mlp(weights::Table& table, const std::string& name, const ModelOptions& options) {
  const auto linear = [&](const std::string& part) {
    return register_module(part,
                           std::make_shared<Linear>(table, name + "." + part, options));
  };
  gate_proj_ = linear("gate_proj");
  up_proj_ = linear("up_proj");
  down_proj_ = linear("down_proj");
}

at::Tensor Mlp::forward(const ops::LinearInput& x, const std::optional<Draw>& draw,
                        ops::Output output) const {
  return ops::swiglu_linear(gate_proj_->forward(x, draw), up_proj_->forward(x, draw),
                            down_proj_->weight(draw), output);
}

Block::Block(weights::Table& table, const std::string& name, const Config& config,
             Config::Layer layer, const ModelOptions& options)
    : replays_(ops::attention_replays(
          options.attention, {options.device, options.compute, config.head_dim})),
      residual_multiplier_(config.residual_multiplier) {
  const auto norm = [&](const std::string& part) {
    return register_module(part, std::make_shared<RmsNorm>(table, name + "." + part,
                                                           config.rms_norm_eps, options));
  };
  input_layernorm_ = norm("input_layernorm");
  self_attn_ = register_module(
      "self_attn",
      std::make_shared<Attention>(table, name + ".self_attn", config, layer, options));
  post_attention_layernorm_ = norm("post_attention_layernorm");
  mlp_ = register_module("mlp", std::make_shared<Mlp>(table, name + ".mlp", options));
}

at::Tensor Block::forward(const at::Tensor& hidden, const Packed& packed,
                          const Rows* rows, ops::Output output) const {
  const at::Tensor own = rows == nullptr ? hidden : hidden.index_select(0, rows->index);
  const at::Tensor mixed =
      at::add(own, self_attn_->forward(input_layernorm_->forward(hidden), packed, rows),
              residual_multiplier_);
  return at::add(mixed,
                 mlp_->forward(post_attention_layernorm_->forward(mixed),
                               rows == nullptr ? packed.draw : rows->draw, output),
                 residual_multiplier_);
}

}  // namespace lowmem::model
