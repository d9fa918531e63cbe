#pragma once

#include <array>
#include <cstdint>

namespace lowmem::ops {

// A rehearsal runs the program for its allocations alone: loops over elements and matrix
// products are left out, results have their room and no meaning. Whatever looks at a
// number to decide something must ask rehearsing() first.
//
// Process-wide, like the memory that it is about; one thread at a time.
bool rehearsing();

// What tensors made now are for. The memory meter's breakdown of a rehearsal goes by it.
enum class Item {
  kWeights,
  kOptimizerState,
  kBatch,      // ids, labels, rotary angles
  kKept,       // activations, from a block's forward pass to its backward pass
  kBlock,      // activations and their gradients of the block at hand
  kGradients,  // of weights
  kLoss,       // logits and what becomes of them
  kUpdate,     // an update's own sums and roots
  kEvaluation,
  kSave,
};
constexpr size_t kItems = 10;
using ItemBytes = std::array<int64_t, kItems>;
// "weights", "optimizer_state", ...: the keys of `plan --json`.
const char* item_name(Item item);

Item current_item();

// Names what is made during its life. Scopes nest: the inner one counts.
class ItemScope {
 public:
  explicit ItemScope(Item item);
  ~ItemScope();
  ItemScope(const ItemScope&) = delete;
  ItemScope& operator=(const ItemScope&) = delete;

 private:
  Item outer_;
};

// Leaves arithmetic out during its life. engine::Rehearsal adds memory without bytes.
class WithoutArithmetic {
 public:
  WithoutArithmetic();
  ~WithoutArithmetic();
  WithoutArithmetic(const WithoutArithmetic&) = delete;
  WithoutArithmetic& operator=(const WithoutArithmetic&) = delete;
};

}  // namespace lowmem::ops
