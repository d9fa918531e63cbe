#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
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
  Walk(const model::Llama& model, weights::Home& home);

  const model::Llama& model() const { return model_; }
  weights::Home& home() const { return home_; }
  size_t blocks() const { return model_.blocks().size(); }

  // Rows of the embedding table: [N] -> [N, D].
  at::Tensor embed(const at::Tensor& ids) const {
    const weights::Lease lease = home_.borrow(0, Access::kRead);
    return model_.embed(home_.rows(*embedding_), ids);
  }

  // Calls visit(block) for each block from the first.
  template <class Visit>
  void up(Visit&& visit) const {
    for (size_t block = 0; block < blocks(); ++block) {
      const weights::Lease lease = home_.borrow(block + 1, Access::kRead);
      for (size_t next = 1; next <= home_.ahead() && block + next < blocks(); ++next)
        home_.expect(block + next + 1, Access::kRead);
      visit(block);
    }
  }

  // Calls visit(block) for each block from the last down to `lowest`.
  template <class Visit>
  void down(size_t lowest, Access access, Visit&& visit) const {
    for (size_t block = blocks(); block-- > lowest;) {
      const weights::Lease lease = home_.borrow(block + 1, asked(block, access));
      for (size_t next = 1; next <= home_.ahead() && lowest + next <= block; ++next)
        home_.expect(block - next + 1, asked(block - next, access));
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

  // The matrix that the head multiplies by, while the top is borrowed.
  ops::MatrixRows head() const { return home_.rows(*head_); }

  // That a pass begins soon: the first blocks may be brought.
  void expect_up() const {
    for (size_t block = 0; block < std::min(blocks(), home_.ahead() + 1); ++block)
      home_.expect(block + 1, Access::kRead);
  }

  // Hidden states after the last block, [N, D], or those of `rows`, [M, D]; without a
  // graph. Blocks' activations are freed as it goes.
  at::Tensor hidden_states(const model::Packed& packed,
                           const model::Rows* rows = nullptr) const;

  // All logits, [N, V] in fp32, without a graph. For tests and small models.
  at::Tensor logits(const model::Packed& packed) const;

 private:
  // A block that is not trained is only read.
  Access asked(size_t block, Access access) const {
    return home_.table().trains(block + 1) ? access : Access::kRead;
  }

  const model::Llama& model_;
  weights::Home& home_;
  const weights::Weight *embedding_, *head_;
};

}  // namespace lowmem::engine
