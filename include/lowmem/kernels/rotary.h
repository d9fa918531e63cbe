#pragma once

#include <cstdint>

#include "lowmem/kernels/elements.h"
#include "lowmem/kernels/stream.h"

namespace lowmem::kernels {

// Turns element i and i + head_dim / 2 of each head as a pair by its token's angle:
//
//   low' = low cos - high sin        high' = high cos + low sin
//
// The inverse, which is also the gradient, turns the other way.
struct RotaryArgs {
  ConstArray x;      // [tokens, heads, head_dim]
  const float* cos;  // [tokens, head_dim / 2]
  const float* sin;
  int64_t heads = 0, head_dim = 0;
  bool inverse = false;
};

// Tokens [begin, end) of y, which is like x and may be x itself.
void rotary(const RotaryArgs& args, Array y, int64_t begin, int64_t end);

namespace LOWMEM_DEVICE {

void rotary(const RotaryArgs& args, Array y, int64_t tokens, Stream stream);

}  // namespace LOWMEM_DEVICE

}  // namespace lowmem::kernels
