#pragma once

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

#include <memory>
#include <vector>

#include "lowmem/model/config.h"
#include "lowmem/model/layers.h"
#include "lowmem/model/packed.h"
#include "lowmem/ops/matrix_rows.h"

namespace lowmem::model {

// A Llama, or a model of another family of model/family.h, whose named_parameters() carry
// Hugging Face's names: plain forward code over the weights of a table, which need no
// gradient until somebody asks for one (weights/ selection.h) and whose numbers are there
// while their group is borrowed.
//
// The parts are public: engine/walk goes over them block by block.
class Llama : public torch::nn::Module {
 public:
  // Over a table of weight_specs(config) with its tensors.
  Llama(const Config& config, const ModelOptions& options,
        std::shared_ptr<weights::Table> table);
  // Over one of its own, on the model's device, uninitialised.
  Llama(const Config& config, const ModelOptions& options);

  const Config& config() const { return config_; }
  const ModelOptions& options() const { return options_; }
  c10::Device device() const { return options_.device; }
  weights::Table& table() const { return *table_; }
  const RotaryAngles& angles() const { return angles_; }
  const std::vector<std::shared_ptr<Block>>& blocks() const { return blocks_; }

  // Sequences of token ids on this model's device.
  Packed pack(const std::vector<Sequence>& sequences, int64_t multiple = 0) const {
    return angles_.pack(sequences, options_.device, multiple);
  }

  // Rows of the embedding table [V, D], times embedding_multiplier: [N] -> [N, D], in the
  // residual stream's type. Without a graph.
  at::Tensor embed(const ops::MatrixRows& table, const at::Tensor& ids) const;

  // Final norm of any rows: [M, D] -> [M, D], in the compute type, over logits_scaling,
  // so that whatever multiplies it by head() has the model's logits.
  at::Tensor norm(const at::Tensor& hidden) const;

  // The output matrix [V, D]: lm_head, or the embedding table where they are tied.
  const at::Tensor& head() const;
  const at::Tensor& embedding() const { return embedding_; }
  bool tied() const { return !lm_head_.defined(); }

 private:
  Config config_;
  ModelOptions options_;
  std::shared_ptr<weights::Table> table_;
  RotaryAngles angles_;
  at::Tensor embedding_;  // [V, D]
  at::Tensor lm_head_;    // [V, D], or undefined where tied
  std::vector<std::shared_ptr<Block>> blocks_;
  std::shared_ptr<RmsNorm> norm_;
};

}  // namespace lowmem::model
