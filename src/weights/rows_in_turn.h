#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "lowmem/weights/store.h"

namespace lowmem::weights {

// A tensor with a storage of its size and nothing behind it, and where that is to be
// found: null for nowhere.
at::Tensor without_memory(at::IntArrayRef shape, at::ScalarType type, c10::Device device);
void point(const at::Tensor& tensor, std::byte* to);

// A matrix that lies in a store from `offset` on, and the tensor without memory that it
// is for others.
struct LyingMatrix {
  Store* store = nullptr;
  int64_t offset = 0;
  at::Tensor tensor = {};
  memory::Item item = memory::Item::kWeights;
  bool filled = false;  // it holds numbers; else they are zeros
};

// Brings rows of matrices of one shape [R, C], all in the memory that is computed with
// for their turn, and calls use(begin, end) for all of them in order. Meanwhile each
// tensor has these rows at their place, and nothing at any other. `step` is what begin,
// and end unless it is R, are to be multiples of; 0: of what suits the store. The next
// rows are on their way while some are looked at; where they are `written`, all are
// filled in the end. Memory: twice some rows of each.
void pass_rows(std::span<LyingMatrix* const> matrices, int64_t step, bool written,
               const std::function<void(int64_t begin, int64_t end)>& use);

}  // namespace lowmem::weights
