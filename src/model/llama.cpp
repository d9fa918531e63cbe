#include "lowmem/model/llama.h"

#include <ATen/ATen.h>

#include <string>

namespace lowmem::model {
namespace {

// A module that only gives its children a name, as Hugging Face's tree has them.
class Named : public torch::nn::Module {
 public:
  using torch::nn::Module::register_module;
  using torch::nn::Module::register_parameter;
};

}  // namespace

Llama::Llama(const LlamaConfig& config, ModelOptions options)
    : config_(config), options_(options), angles_(config) {
  const std::vector<int64_t> table = {config.vocab_size, config.hidden_size};

  auto body = register_module("model", std::make_shared<Named>());
  auto embed_tokens = body->register_module("embed_tokens", std::make_shared<Named>());
  embedding_ = embed_tokens->register_parameter(
      "weight", at::empty(table, options.tensor()), false);

  auto layers = body->register_module("layers", std::make_shared<Named>());
  for (int64_t i = 0; i < config.num_hidden_layers; ++i)
    blocks_.push_back(layers->register_module(std::to_string(i),
                                              std::make_shared<Block>(config, options)));
  norm_ = body->register_module(
      "norm",
      std::make_shared<RmsNorm>(config.hidden_size, config.rms_norm_eps, options));

  if (!config.tie_word_embeddings) {
    auto head = register_module("lm_head", std::make_shared<Named>());
    lm_head_ =
        head->register_parameter("weight", at::empty(table, options.tensor()), false);
  }
}

at::Tensor Llama::embed(const at::Tensor& ids) const {
  return at::embedding(embedding_, ids).to(options_.stream());
}

const at::Tensor& Llama::head() const {
  return lm_head_.defined() ? lm_head_ : embedding_;
}

at::Tensor Llama::hidden_states(const Packed& packed, const Rows* rows) const {
  const at::NoGradGuard no_grad;
  at::Tensor hidden = embed(packed.ids);
  for (const auto& block : blocks_)
    hidden = block->forward(hidden, packed, block == blocks_.back() ? rows : nullptr);
  return hidden;
}

at::Tensor Llama::logits(const Packed& packed) const {
  const at::NoGradGuard no_grad;
  const at::Tensor hidden = norm(hidden_states(packed));
  return at::linear(hidden, head().to(options_.compute)).to(at::kFloat);
}

}  // namespace lowmem::model
