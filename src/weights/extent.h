#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "rows_in_turn.h"

namespace lowmem::weights {

// Tensors of a group lie in one piece, each from such a multiple on.
inline constexpr int64_t kTensorAlignment = 64;  // bytes
inline int64_t aligned(int64_t bytes) {
  return (bytes + kTensorAlignment - 1) / kTensorAlignment * kTensorAlignment;
}

// Tensors of a group that lie one after another in a store.
struct Extent {
  int64_t offset = 0;  // in it
  int64_t bytes = 0;
  bool filled = false;  // it holds numbers; else they are zeros, or nobody's
  std::vector<std::pair<at::Tensor, int64_t>> tensors;  // and where each begins in it

  void add(const at::Tensor& tensor) {
    tensors.emplace_back(tensor, bytes);
    bytes += aligned(static_cast<int64_t>(tensor.nbytes()));
  }
  int64_t whole() const { return whole_sectors(bytes); }
  void point_into(std::byte* memory) const {
    for (const auto& [tensor, begin] : tensors) point(tensor, memory + begin);
  }
  void point_nowhere() const {
    for (const auto& [tensor, begin] : tensors) point(tensor, nullptr);
  }
};

}  // namespace lowmem::weights
