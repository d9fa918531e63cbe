#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace lowmem::memory {

// What a run is doing when memory is at its highest.
enum class Phase { kLoad, kForward, kBackward, kUpdate, kEvaluate, kSave, kNone };
constexpr size_t kPhases = 6;
using PhaseBytes = std::array<int64_t, kPhases>;
// "load", "forward", ...: the keys of results.json.
const char* phase_name(Phase phase);

// What a tensor is for. The breakdown of a rehearsal goes by it.
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

Phase current_phase();
Item current_item();

// A name for what is allocated during its life: when it was, what it is for, or both.
// Scopes nest: the inner one counts. One thread at a time opens scopes.
class Scope {
 public:
  explicit Scope(Phase phase) : Scope(phase, current_item()) {}
  explicit Scope(Item item) : Scope(current_phase(), item) {}
  Scope(Phase phase, Item item);
  ~Scope();
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

 private:
  Phase outer_phase_;
  Item outer_item_;
};

}  // namespace lowmem::memory
