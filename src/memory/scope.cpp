#include "lowmem/memory/scope.h"

#include "lowmem/memory/ledger.h"

namespace lowmem::memory {
namespace {

Phase g_phase = Phase::kNone;
Item g_item = Item::kBatch;

void enter(Phase phase) {
  if (phase == g_phase) return;
  for (Ledger* ledger : ledgers()) ledger->change_phase(g_phase);
  g_phase = phase;
}

}  // namespace

const char* phase_name(Phase phase) {
  switch (phase) {
    case Phase::kLoad:
      return "load";
    case Phase::kForward:
      return "forward";
    case Phase::kBackward:
      return "backward";
    case Phase::kUpdate:
      return "update";
    case Phase::kEvaluate:
      return "evaluate";
    case Phase::kSave:
      return "save";
    case Phase::kNone:
      break;
  }
  return "";
}

const char* item_name(Item item) {
  switch (item) {
    case Item::kWeights:
      return "weights";
    case Item::kOptimizerState:
      return "optimizer_state";
    case Item::kBatch:
      return "batch";
    case Item::kKept:
      return "kept_activations";
    case Item::kBlock:
      return "block";
    case Item::kGradients:
      return "gradients";
    case Item::kLoss:
      return "loss";
    case Item::kUpdate:
      return "update";
    case Item::kWorkspace:
      return "workspace";
    case Item::kEvaluation:
      return "evaluation";
    case Item::kSave:
      return "save";
  }
  return "";
}

Phase current_phase() { return g_phase; }
Item current_item() { return g_item; }

Scope::Scope(Phase phase, Item item) : outer_phase_(g_phase), outer_item_(g_item) {
  enter(phase);
  g_item = item;
}

Scope::~Scope() {
  enter(outer_phase_);
  g_item = outer_item_;
}

}  // namespace lowmem::memory
