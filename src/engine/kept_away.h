#pragma once

#include <algorithm>
#include <memory>
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

}  // namespace lowmem::engine
