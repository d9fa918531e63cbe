#include <ATen/ATen.h>

#include <stdexcept>
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
  const at::Tensor& wait() {
    space_.store->wait(ticket_);
    return here_;
  }

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
class KeptInputs final : public Activations {
 public:
  KeptInputs(std::unique_ptr<Activations> policy, const ActivationsSetup& setup,
             std::unique_ptr<weights::Store> store)
      : policy_(std::move(policy)),
        space_(std::move(store)),
        order_(setup.blocks),
        ahead_(static_cast<size_t>(setup.ahead)) {
    if (!memory::rehearsing())
      log::info("the inputs of blocks wait " + space_.store->where());
  }

  at::Tensor forward(const BlockCall& call, const at::Tensor& input,
                     SavedBlock& saved) override {
    at::Tensor output = policy_->forward(call, input, saved);
    settle();
    const size_t place = order_.place(call);
    if (place <= ahead_ || !saved.input.defined() || saved.output.defined())
      return output;
    auto kept =
        std::make_unique<KeptInput>(space_, order_, std::exchange(saved.input, {}));
    last_ = place;
    order_[place] = kept.get();
    saved.away = std::move(kept);
    return output;
  }

  at::Tensor backward(const BlockCall& call, at::Tensor output_gradient,
                      SavedBlock& saved) override {
    settle();
    const size_t place = order_.place(call);
    for (size_t next = place; next <= place + ahead_; ++next)
      if (KeptInput* kept = order_[next]) kept->read();
    if (order_[place] != saved.away.get())
      throw std::logic_error("another input than that of this block is at its place");
    if (KeptInput* kept = order_[place]) saved.input = kept->wait();
    saved.away.reset();
    return policy_->backward(call, std::move(output_gradient), saved);
  }

  GraphCounts graphs() const override { return policy_->graphs(); }
  weights::Traffic traffic() const override { return space_.store->traffic(); }
  int64_t disk_bytes() const override { return space_.store->disk_bytes(); }

 private:
  // Whose copy is under way leaves: one at a time does.
  void settle() {
    if (KeptInput* kept = order_[last_]) kept->leave();
  }

  std::unique_ptr<Activations> policy_;
  Space space_;
  Inputs order_;
  size_t ahead_, last_ = 0;
};

}  // namespace

std::unique_ptr<Activations> make_kept_inputs(std::unique_ptr<Activations> policy,
                                              const ActivationsSetup& setup,
                                              std::unique_ptr<weights::Store> store) {
  return std::make_unique<KeptInputs>(std::move(policy), setup, std::move(store));
}

}  // namespace lowmem::engine
