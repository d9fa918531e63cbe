#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <utility>

#include "lowmem/model/llama.h"
#include "lowmem/weights/home.h"

namespace lowmem::engine {

using weights::Access;

// The one way over a model's weights, for training and evaluation: group by group, each
// borrowed for its turn, the next one announced. Group 0 is the embedding, i + 1 block i,
// the last the norm and a head of its own.
class Walk {
 public:
  Walk(const model::Llama& model, weights::Home& home) : model_(model), home_(home) {}

  const model::Llama& model() const { return model_; }
  weights::Home& home() const { return home_; }
  size_t blocks() const { return model_.blocks().size(); }

  // Rows of the embedding table: [N] -> [N, D].
  at::Tensor embed(const at::Tensor& ids) const {
    const weights::Lease lease = home_.borrow(0, Access::kRead);
    return model_.embed(ids);
  }

  // Calls visit(block) for each block from the first.
  template <class Visit>
  void up(Visit&& visit) const {
    for (size_t block = 0; block < blocks(); ++block) {
      if (block + 1 < blocks()) home_.expect(block + 2, Access::kRead);
      const weights::Lease lease = home_.borrow(block + 1, Access::kRead);
      visit(block);
    }
  }

  // Calls visit(block) for each block from the last down to `lowest`.
  template <class Visit>
  void down(size_t lowest, Access access, Visit&& visit) const {
    for (size_t block = blocks(); block-- > lowest;) {
      if (block > lowest) home_.expect(block, access);
      const weights::Lease lease = home_.borrow(block + 1, access);
      visit(block);
    }
  }

  // What is above the blocks, for as long as the result lives; a tied head's table is
  // there to be read.
  std::pair<weights::Lease, weights::Lease> borrow_top(Access access) const {
    const size_t top = home_.table().top();
    return {home_.borrow(top, access),
            model_.tied() ? home_.borrow(0, Access::kRead) : home_.borrow(top, access)};
  }

  // Hidden states after the last block, [N, D], or those of `rows`, [M, D]; without a
  // graph. Blocks' activations are freed as it goes.
  at::Tensor hidden_states(const model::Packed& packed,
                           const model::Rows* rows = nullptr) const;

  // All logits, [N, V] in fp32, without a graph. For tests and small models.
  at::Tensor logits(const model::Packed& packed) const;

 private:
  const model::Llama& model_;
  weights::Home& home_;
};

}  // namespace lowmem::engine
