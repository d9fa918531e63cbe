#pragma once

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

#include <memory>
#include <vector>

#include "lowmem/model/layers.h"
#include "lowmem/model/llama_config.h"
#include "lowmem/model/packed.h"

namespace lowmem::model {

// A Llama whose named_parameters() carry Hugging Face's names. Its weights are
// uninitialised until load_weights() or randomize_weights(), and need no gradient until
// somebody asks for one.
//
// The parts are public: the step driver walks them block by block.
class Llama : public torch::nn::Module {
 public:
  Llama(const LlamaConfig& config, ModelOptions options);

  const LlamaConfig& config() const { return config_; }
  const ModelOptions& options() const { return options_; }
  c10::Device device() const { return options_.device; }
  const RotaryAngles& angles() const { return angles_; }
  const std::vector<std::shared_ptr<Block>>& blocks() const { return blocks_; }

  // Sequences of token ids on this model's device.
  Packed pack(const std::vector<Sequence>& sequences, int64_t multiple = 0) const {
    return angles_.pack(sequences, options_.device, multiple);
  }

  // Rows of the embedding table: [N] -> [N, D], in the residual stream's type.
  at::Tensor embed(const at::Tensor& ids) const;

  // Final norm of any rows: [M, D] -> [M, D], in the compute type.
  at::Tensor norm(const at::Tensor& hidden) const { return norm_->forward(hidden).value; }

  const at::Tensor& norm_weight() const { return norm_->weight; }

  // The output matrix [V, D]: lm_head, or the embedding table where they are tied.
  const at::Tensor& head() const;
  const at::Tensor& embedding() const { return embedding_; }

  // Hidden states after the last block, [N, D], or those of `rows`, [M, D]; without a
  // graph. Blocks' activations are freed as it goes.
  at::Tensor hidden_states(const Packed& packed, const Rows* rows = nullptr) const;

  // All logits, [N, V] in fp32, without a graph. For tests and small models.
  at::Tensor logits(const Packed& packed) const;

 private:
  LlamaConfig config_;
  ModelOptions options_;
  RotaryAngles angles_;
  at::Tensor embedding_;  // [V, D]
  at::Tensor lm_head_;    // [V, D], or undefined where tied
  std::vector<std::shared_ptr<Block>> blocks_;
  std::shared_ptr<RmsNorm> norm_;
};

}  // namespace lowmem::model
