#pragma once

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include "lowmem/engine/activations.h"
#include "lowmem/weights/store.h"

namespace lowmem::engine {

// The store that blocks' activations wait in. They come and go as a stack does, and all
// are gone when a batch is through: then the store is used from its beginning again.
class Space {
 public:
  explicit Space(std::unique_ptr<weights::Store> where) : store(std::move(where)) {}

  int64_t take(int64_t bytes) {
    const int64_t offset = std::exchange(used_, used_ + bytes);
    if (used_ > bytes_) {
      store->extend(used_ - bytes_);
      bytes_ = used_;
    }
    ++users_;
    return offset;
  }
  void give_back() {
    if (--users_ == 0) used_ = 0;
  }

  const std::unique_ptr<weights::Store> store;

 private:
  int64_t bytes_ = 0, used_ = 0, users_ = 0;
};

// What is away, by when the backward pass comes to it.
template <class Kept>
class Order {
 public:
  explicit Order(size_t blocks) : blocks_(blocks) {}

  // The place of a call, forward and backward: 0 is what the backward pass begins with.
  size_t place(const BlockCall& call) const {
    return (blocks_ - 1 - call.index) * call.micro_batches + call.micro_batch;
  }

  Kept*& operator[](size_t place) {
    if (place >= kept_.size()) kept_.resize(place + 1);
    return kept_[place];
  }
  void forget(const Kept* gone) {
    std::replace(kept_.begin(), kept_.end(), const_cast<Kept*>(gone),
                 static_cast<Kept*>(nullptr));
  }

 private:
  size_t blocks_;
  std::vector<Kept*> kept_;  // null: nothing is away
};

// Another policy, of which what is kept of a block waits in a store: on its way there
// while the next block computes, and on its way back before its turn; what the backward
// pass meets first stays. A `Kept` is on its way when it is made, and has leave(), read()
// and wait().
template <class Kept>
class Waiting : public Activations {
 public:
  GraphCounts graphs() const override { return policy_->graphs(); }
  weights::Traffic traffic() const override { return space_.store->traffic(); }
  int64_t disk_bytes() const override { return space_.store->disk_bytes(); }

 protected:
  Waiting(std::unique_ptr<Activations> policy, const ActivationsSetup& setup,
          std::unique_ptr<weights::Store> store)
      : policy_(std::move(policy)),
        space_(std::move(store)),
        order_(setup.blocks),
        ahead_(static_cast<size_t>(setup.ahead)) {}

  // After a block's forward pass: lets what was on its way leave, and says whether the
  // block's turn is far enough for something of it to go.
  bool may_go(const BlockCall& call) {
    settle();
    return order_.place(call) > ahead_;
  }
  // Lets it go; it is made of the space, the order and `what`.
  template <class... What>
  void let_go(const BlockCall& call, SavedBlock& saved, What&&... what) {
    auto kept = std::make_unique<Kept>(space_, order_, std::forward<What>(what)...);
    last_ = order_.place(call);
    order_[last_] = kept.get();
    saved.away = std::move(kept);
  }
  // Before its backward pass: what has come back, or null where nothing went.
  Kept* back(const BlockCall& call, const SavedBlock& saved) {
    settle();
    const size_t place = order_.place(call);
    for (size_t next = place; next <= place + ahead_; ++next)
      if (Kept* kept = order_[next]) kept->read();
    if (order_[place] != saved.away.get())
      throw std::logic_error("what is kept of another block is at this one's place");
    if (Kept* kept = order_[place]) kept->wait();
    return order_[place];
  }

  std::unique_ptr<Activations> policy_;
  Space space_;

 private:
  // What is on its way leaves: one block's at a time is.
  void settle() {
    if (Kept* kept = order_[last_]) kept->leave();
  }

  Order<Kept> order_;
  size_t ahead_, last_ = 0;
};

}  // namespace lowmem::engine
