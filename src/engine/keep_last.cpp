#include <utility>

#include "activations_policies.h"

namespace lowmem::engine {
namespace {

// memory.activations = N: the last N blocks keep their activations, which the backward
// pass meets first, and the others do without. A dial between `keep` and `recompute`.
class KeepLast final : public Activations {
 public:
  KeepLast(size_t first_kept, const ActivationsSetup& setup)
      : first_kept_(first_kept), keep_(make_keep()), others_(make_recompute(setup)) {}

  at::Tensor forward(const BlockCall& call, const at::Tensor& input,
                     SavedBlock& saved) override {
    return of(call).forward(call, input, saved);
  }
  at::Tensor backward(const BlockCall& call, at::Tensor output_gradient,
                      SavedBlock& saved) override {
    return of(call).backward(call, std::move(output_gradient), saved);
  }
  GraphCounts graphs() const override { return others_->graphs(); }

 private:
  Activations& of(const BlockCall& call) {
    return call.index >= first_kept_ ? *keep_ : *others_;
  }

  size_t first_kept_;
  std::unique_ptr<Activations> keep_, others_;
};

}  // namespace

std::unique_ptr<Activations> make_keep_last(size_t blocks,
                                            const ActivationsSetup& setup) {
  return std::make_unique<KeepLast>(setup.blocks - blocks, setup);
}

}  // namespace lowmem::engine
