#include "lowmem/engine/walk.h"

#include <ATen/ATen.h>

namespace lowmem::engine {

Walk::Walk(const model::Llama& model, weights::Home& home)
    : model_(model),
      home_(home),
      embedding_(&home.table().at("model.embed_tokens.weight")),
      head_(model.tied() ? embedding_ : &home.table().at("lm_head.weight")) {}

at::Tensor Walk::hidden_states(const model::Packed& packed,
                               const model::Rows* rows) const {
  const at::NoGradGuard no_grad;
  at::Tensor hidden = embed(packed.ids);
  up([&](size_t block) {
    hidden = model_.blocks()[block]->forward(hidden, packed,
                                             block + 1 == blocks() ? rows : nullptr);
  });
  expect_up();
  return hidden;
}

at::Tensor Walk::logits(const model::Packed& packed) const {
  const at::NoGradGuard no_grad;
  const at::Tensor hidden = hidden_states(packed);
  const auto leases = borrow_top(Access::kRead);
  return at::linear(model_.norm(hidden),
                    head().slice(0, head().size(0)).to(model_.options().compute))
      .to(at::kFloat);
}

}  // namespace lowmem::engine
