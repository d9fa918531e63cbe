#include "lowmem/ops/rehearsal.h"

#include <cassert>

namespace lowmem::ops {
namespace {

bool g_rehearsing = false;
std::optional<RehearsedGpu> g_gpu;
Item g_item = Item::kBatch;

}  // namespace

bool rehearsing() { return g_rehearsing; }

const RehearsedGpu* rehearsed_gpu() { return g_gpu ? &*g_gpu : nullptr; }

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

Item current_item() { return g_item; }

ItemScope::ItemScope(Item item) : outer_(g_item) { g_item = item; }
ItemScope::~ItemScope() { g_item = outer_; }

WithoutArithmetic::WithoutArithmetic(const std::optional<RehearsedGpu>& gpu) {
  assert(!g_rehearsing);
  g_rehearsing = true;
  g_gpu = gpu;
}
WithoutArithmetic::~WithoutArithmetic() {
  g_rehearsing = false;
  g_gpu.reset();
}

}  // namespace lowmem::ops
