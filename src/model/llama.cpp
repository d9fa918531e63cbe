#include "lowmem/model/llama.h"

#include <ATen/ATen.h>

#include <string>

#include "lowmem/ops/dtype.h"

namespace lowmem::model {
namespace {

// A module that only gives its children a name, as Hugging Face's tree has them.
class Named : public torch::nn::Module {
 public:
  using torch::nn::Module::register_module;
  using torch::nn::Module::register_parameter;
};

std::shared_ptr<weights::Table> table_of(const Config& config,
                                         const ModelOptions& options) {
  auto table = std::make_shared<weights::Table>(weight_specs(config),
                                                ops::dtype_of(options.weights));
  table->allocate(options.device);
  return table;
}

}  // namespace

Llama::Llama(const Config& config, const ModelOptions& options)
    : Llama(config, options, table_of(config, options)) {}

Llama::Llama(const Config& config, const ModelOptions& options,
             std::shared_ptr<weights::Table> table)
    : config_(config), options_(options), table_(std::move(table)), angles_(config) {
  auto body = register_module("model", std::make_shared<Named>());
  auto embed_tokens = body->register_module("embed_tokens", std::make_shared<Named>());
  embedding_ = embed_tokens->register_parameter(
      "weight", table_->at("model.embed_tokens.weight").here, false);

  auto layers = body->register_module("layers", std::make_shared<Named>());
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    const std::string number = std::to_string(i);
    blocks_.push_back(layers->register_module(
        number, std::make_shared<Block>(*table_, "model.layers." + number, config,
                                        config.layer(i), options)));
  }
  norm_ = body->register_module(
      "norm",
      std::make_shared<RmsNorm>(*table_, "model.norm", config.rms_norm_eps, options));

  if (!config.tie_word_embeddings) {
    auto head = register_module("lm_head", std::make_shared<Named>());
    lm_head_ =
        head->register_parameter("weight", table_->at("lm_head.weight").here, false);
  }
}

at::Tensor Llama::embed(const ops::MatrixRows& table, const at::Tensor& ids) const {
  at::Tensor rows = table.index_select(ids).to(options_.stream());
  return config_.embedding_multiplier == 1 ? rows
                                           : rows.mul_(config_.embedding_multiplier);
}

at::Tensor Llama::norm(const at::Tensor& hidden) const {
  at::Tensor normed = norm_->forward(hidden).value;
  return config_.logits_scaling == 1 ? normed : normed.div_(config_.logits_scaling);
}

const at::Tensor& Llama::head() const {
  return lm_head_.defined() ? lm_head_ : embedding_;
}

}  // namespace lowmem::model
