#include "lowmem/ops/rehearsal.h"

#include <cassert>

namespace lowmem::ops {
namespace {

bool g_rehearsing = false;
Item g_item = Item::kBatch;

}  // namespace

bool rehearsing() { return g_rehearsing; }

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
    case Item::kEvaluation:
      return "evaluation";
    case Item::kSave:
      return "save";
  }
  return "";
}

Item current_item() { return g_item; }

ItemScope::ItemScope(Item item) : outer_(g_item) { g_item = item; }
ItemScope::~ItemScope() { g_item = outer_; }

WithoutArithmetic::WithoutArithmetic() {
  assert(!g_rehearsing);
  g_rehearsing = true;
}
WithoutArithmetic::~WithoutArithmetic() { g_rehearsing = false; }

}  // namespace lowmem::ops
