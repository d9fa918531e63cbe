#pragma once

// The parts of a block, of any family: plain forward code that knows nothing of memory
// techniques. Tensors are [N, ...]: the tokens of all sequences end to end.

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <torch/nn/module.h>

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "lowmem/model/config.h"
#include "lowmem/model/packed.h"
#include "lowmem/ops/attention.h"
#include "lowmem/ops/linear.h"
#include "lowmem/ops/swiglu_linear.h"
#include "lowmem/weights/adapter.h"
#include "lowmem/weights/table.h"

namespace lowmem::model {

// How weights are held, what they are multiplied in, and where.
struct ModelOptions {
  at::ScalarType weights = at::kFloat;
  at::ScalarType compute = at::kFloat;
  c10::Device device = c10::kCPU;
  AttentionMode attention = AttentionMode::kAuto;
  // Linear layers with an adapter beside them.
  std::map<std::string, weights::AdapterLayer> adapted = {};

  // The type of the residual stream: the wider of the two.
  at::ScalarType stream() const { return weights == at::kFloat ? at::kFloat : compute; }
};

// Each module finds its weights in the table, under the name that it is given: what
// Hugging Face's module of that place is called, "model.layers.3.mlp".
class Linear : public torch::nn::Module {
 public:
  Linear(weights::Table& table, const std::string& name, const ModelOptions& options);
  // [N, in] -> [N, out], in the compute type.
  at::Tensor forward(const ops::LinearInput& x, const std::optional<Draw>& draw) const;
  // What it multiplies by, for these tokens.
  ops::LinearWeight weight(const std::optional<Draw>& draw) const;

 private:
  ops::LinearWeight weight_;
  mutable ops::KeptNorms norms_;  // of an adapter with a magnitude
  at::Tensor values_;             // [rank, 1], of an adapter that has them
  double dropout_ = 0;
  uint32_t index_ = 0;  // among the adapted layers
  at::ScalarType compute_;
};

class RmsNorm : public torch::nn::Module {
 public:
  RmsNorm(weights::Table& table, const std::string& name, double eps,
          const ModelOptions& options);
  // [N, size] -> [N, size], in the compute type, as what a linear layer takes.
  ops::LinearInput forward(const at::Tensor& x) const;

 private:
  at::Tensor weight_;  // [size]
  double eps_;
  at::ScalarType compute_;
};

// The norm of each head of queries or keys.
class HeadNorm : public torch::nn::Module {
 public:
  HeadNorm(weights::Table& table, const std::string& name, double eps);
  // x [N, heads, head_dim]; without rotary where cos is undefined.
  ops::Heads forward(const at::Tensor& x, const at::Tensor& cos,
                     const at::Tensor& sin) const;

 private:
  at::Tensor weight_;  // [head_dim]
  double eps_;
};

class Attention : public torch::nn::Module {
 public:
  Attention(weights::Table& table, const std::string& name, const Config& config,
            Config::Layer layer, const ModelOptions& options);
  // [N, D] -> [N, D]; with `rows`, [M, D]: only these tokens ask, all are asked.
  at::Tensor forward(const ops::LinearInput& x, const Packed& packed,
                     const Rows* rows) const;

 private:
  // [N, heads head_dim] as heads, through their norm where there is one, and turned.
  ops::Heads heads(const at::Tensor& flat, const std::shared_ptr<HeadNorm>& norm,
                   const at::Tensor& cos, const at::Tensor& sin) const;

  int64_t head_dim_;
  bool rotary_, window_;
  ops::AttentionRule rule_;
  std::shared_ptr<Linear> q_proj_, k_proj_, v_proj_, o_proj_;
  std::shared_ptr<HeadNorm> q_norm_, k_norm_;  // null: none
};

class Mlp : public torch::nn::Module {
 public:
  Mlp(weights::Table& table, const std::string& name, const ModelOptions& options);
  // [N, D] -> [N, D], of which ops::Output::kGraph leaves the numbers out.
  at::Tensor forward(const ops::LinearInput& x, const std::optional<Draw>& draw,
                     ops::Output output) const;

 private:
  std::shared_ptr<Linear> gate_proj_, up_proj_, down_proj_;
};

// One transformer block: hidden [N, D] -> [N, D]; with `rows`, [M, D]: the last block,
// after which only these tokens matter.
class Block : public torch::nn::Module {
 public:
  Block(weights::Table& table, const std::string& name, const Config& config,
        Config::Layer layer, const ModelOptions& options);
  at::Tensor forward(const at::Tensor& hidden, const Packed& packed,
                     const Rows* rows = nullptr,
                     ops::Output output = ops::Output::kValue) const;

  // Whether a device's launches are the same for all batches of as many tokens and
  // sequences.
  bool replays() const { return replays_; }

 private:
  bool replays_;
  double residual_multiplier_;
  std::shared_ptr<RmsNorm> input_layernorm_, post_attention_layernorm_;
  std::shared_ptr<Attention> self_attn_;
  std::shared_ptr<Mlp> mlp_;
};

}  // namespace lowmem::model
