#include <ATen/ATen.h>

#include <utility>

#include "activations_policies.h"
#include "kept_away.h"
#include "lowmem/core/log.h"
#include "lowmem/memory/rehearsal.h"

namespace lowmem::engine {
namespace {

class KeptInput;
using Inputs = Order<KeptInput>;

// A block's input for one micro-batch: on its way to the store, there, on its way back,
// or here.
class KeptInput final : public Away {
 public:
  KeptInput(Space& space, Inputs& order, at::Tensor input)
      : space_(space),
        order_(order),
        sizes_(input.sizes().vec()),
        options_(input.options()),
        here_(std::move(input)),
        offset_(
            space.take(weights::whole_sectors(static_cast<int64_t>(here_.nbytes())))) {
    ticket_ = space_.store->write(offset_, bytes());
  }
  KeptInput(const KeptInput&) = delete;
  KeptInput& operator=(const KeptInput&) = delete;
  // Its memory is given back to the stream that computes.
  ~KeptInput() override {
    try {
      space_.store->wait(ticket_);
    } catch (const std::exception&) {
      // Then nothing is under way any more, and whoever waits next is told.
    }
    order_.forget(this);
    space_.give_back();
  }

  // Where it has been written: what is computed from here on waits for that.
  void leave() {
    if (std::exchange(left_, true)) return;
    space_.store->wait(ticket_);
    here_.reset();
  }
  void read() {
    if (here_.defined()) return;
    const memory::Scope item(memory::Item::kKept);
    here_ = at::empty(sizes_, options_);
    ticket_ = space_.store->read(offset_, bytes());
  }
  void wait() { space_.store->wait(ticket_); }
  const at::Tensor& here() const { return here_; }

 private:
  std::span<std::byte> bytes() const {
    return {static_cast<std::byte*>(here_.mutable_data_ptr()), here_.nbytes()};
  }

  Space& space_;
  Inputs& order_;
  std::vector<int64_t> sizes_;
  at::TensorOptions options_;
  at::Tensor here_;
  int64_t offset_ = 0;
  weights::Store::Ticket ticket_ = 0;
  bool left_ = false;
};

// memory.kept = host or disk, of a GPU: the inputs of the blocks that are run again wait
// in a store, each on its way there while the next block computes, and on its way back
// before its turn; what the backward pass meets first stays. A graph stays on the device.
class KeptInputs final : public Waiting<KeptInput> {
 public:
  KeptInputs(std::unique_ptr<Activations> policy, const ActivationsSetup& setup,
             std::unique_ptr<weights::Store> store)
      : Waiting(std::move(policy), setup, std::move(store)) {
    if (!memory::rehearsing())
      log::info("the inputs of blocks wait " + space_.store->where());
  }

  at::Tensor forward(const BlockCall& call, const at::Tensor& input,
                     SavedBlock& saved) override {
    at::Tensor output = policy_->forward(call, input, saved);
    if (may_go(call) && saved.input.defined() && !saved.output.defined())
      let_go(call, saved, std::exchange(saved.input, {}));
    return output;
  }

  at::Tensor backward(const BlockCall& call, at::Tensor output_gradient,
                      SavedBlock& saved) override {
    if (const KeptInput* kept = back(call, saved)) saved.input = kept->here();
    saved.away.reset();
    return policy_->backward(call, std::move(output_gradient), saved);
  }
};

}  // namespace

std::unique_ptr<Activations> make_kept_inputs(std::unique_ptr<Activations> policy,
                                              const ActivationsSetup& setup,
                                              std::unique_ptr<weights::Store> store) {
  return std::make_unique<KeptInputs>(std::move(policy), setup, std::move(store));
}

}  // namespace lowmem::engine
