#pragma once

#include <array>
#include <cstdint>
#include <optional>

namespace lowmem::ops {

// A rehearsal runs the program for its allocations alone: loops over elements and matrix
// products are left out, results have their room and no meaning. Whatever looks at a
// number to decide something must ask rehearsing() first.
//
// Process-wide, like the memory that it is about; one thread at a time.
bool rehearsing();

// The GPU that a rehearsal is for, where the CPU stands in for one. What takes other
// memory there than here asks for it.
struct RehearsedGpu {
  int64_t multiprocessors = 0;
};
const RehearsedGpu* rehearsed_gpu();  // null: the CPU stands for itself

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
  kWorkspace,  // of the GPU's libraries
  kEvaluation,
  kSave,
};
constexpr size_t kItems = 11;
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
  explicit WithoutArithmetic(const std::optional<RehearsedGpu>& gpu);
  ~WithoutArithmetic();
  WithoutArithmetic(const WithoutArithmetic&) = delete;
  WithoutArithmetic& operator=(const WithoutArithmetic&) = delete;
};

}  // namespace lowmem::ops
