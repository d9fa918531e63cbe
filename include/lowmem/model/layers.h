#pragma once

// The parts of a Llama block: plain forward code that knows nothing of memory techniques.
// Tensors are [N, ...]: the tokens of all sequences end to end.

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <torch/nn/module.h>

#include <memory>
#include <string>

#include "lowmem/model/llama_config.h"
#include "lowmem/model/packed.h"
#include "lowmem/ops/linear.h"
#include "lowmem/ops/swiglu_linear.h"
#include "lowmem/weights/table.h"

namespace lowmem::model {

// How weights are held, what they are multiplied in, and where.
struct ModelOptions {
  at::ScalarType weights = at::kFloat;
  at::ScalarType compute = at::kFloat;
  c10::Device device = c10::kCPU;
  AttentionMode attention = AttentionMode::kAuto;

  // The type of the residual stream: the wider of the two.
  at::ScalarType stream() const { return weights == at::kFloat ? at::kFloat : compute; }
};

// Each module finds its weights in the table, under the name that it is given: what
// Hugging Face's module of that place is called, "model.layers.3.mlp".
class Linear : public torch::nn::Module {
 public:
  Linear(weights::Table& table, const std::string& name, ModelOptions options);
  // [N, in] -> [N, out], in the compute type.
  at::Tensor forward(const ops::LinearInput& x) const;
  const ops::LinearWeight& weight() const { return weight_; }

 private:
  ops::LinearWeight weight_;
  at::ScalarType compute_;
};

class RmsNorm : public torch::nn::Module {
 public:
  RmsNorm(weights::Table& table, const std::string& name, double eps,
          ModelOptions options);
  // [N, size] -> [N, size], in the compute type, as what a linear layer takes.
  ops::LinearInput forward(const at::Tensor& x) const;

 private:
  at::Tensor weight_;  // [size]
  double eps_;
  at::ScalarType compute_;
};

class Attention : public torch::nn::Module {
 public:
  Attention(weights::Table& table, const std::string& name, const LlamaConfig& config,
            ModelOptions options);
  // [N, D] -> [N, D]; with `rows`, [M, D]: only these tokens ask, all are asked.
  at::Tensor forward(const ops::LinearInput& x, const Packed& packed,
                     const Rows* rows) const;

 private:
  int64_t head_dim_;
  AttentionMode mode_;
  std::shared_ptr<Linear> q_proj_, k_proj_, v_proj_, o_proj_;
};

class Mlp : public torch::nn::Module {
 public:
  Mlp(weights::Table& table, const std::string& name, ModelOptions options);
  // [N, D] -> [N, D], of which ops::Output::kGraph leaves the numbers out.
  at::Tensor forward(const ops::LinearInput& x, ops::Output output) const;

 private:
  std::shared_ptr<Linear> gate_proj_, up_proj_, down_proj_;
};

// One transformer block: hidden [N, D] -> [N, D]; with `rows`, [M, D]: the last block,
// after which only these tokens matter.
class Block : public torch::nn::Module {
 public:
  Block(weights::Table& table, const std::string& name, const LlamaConfig& config,
        ModelOptions options);
  at::Tensor forward(const at::Tensor& hidden, const Packed& packed,
                     const Rows* rows = nullptr,
                     ops::Output output = ops::Output::kValue) const;

  // Whether a device's launches are the same for all batches of as many tokens and
  // sequences.
  bool replays() const { return replays_; }

 private:
  bool replays_;
  std::shared_ptr<RmsNorm> input_layernorm_, post_attention_layernorm_;
  std::shared_ptr<Attention> self_attn_;
  std::shared_ptr<Mlp> mlp_;
};

}  // namespace lowmem::model
