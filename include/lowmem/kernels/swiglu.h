#pragma once

#include <cstdint>

#include "lowmem/kernels/elements.h"
#include "lowmem/kernels/stream.h"

namespace lowmem::kernels {

// silu(gate) * up with silu(x) = x / (1 + e^-x), over some columns of two matrices. fp32
// in registers, one rounding. All arrays have one type.
struct SwigluArgs {
  Array gate, up;       // [rows, stride]
  int64_t stride = 0;   // elements from one of their rows to the next
  int64_t first = 0;    // the first column
  int64_t columns = 0;  // and how many
};

// Rows [begin, end) of y [rows, columns], whose rows are `y_stride` elements apart; y may
// be gate or up itself.
void swiglu(const SwigluArgs& args, Array y, int64_t y_stride, int64_t begin,
            int64_t end);

// With s = sigmoid(gate) and the output's gradient dy [rows, columns]:
//
//   dgate = dy up s (1 + gate (1 - s))      dup = dy silu(gate)
//
// put in the place of gate and up; the output itself, needed for the next matrix's
// gradient, in that of dy.
void swiglu_backward(const SwigluArgs& args, Array dy, int64_t begin, int64_t end);

namespace LOWMEM_DEVICE {

void swiglu(const SwigluArgs& args, Array y, int64_t y_stride, int64_t rows,
            Stream stream);

void swiglu_backward(const SwigluArgs& args, Array dy, int64_t rows, Stream stream);

}  // namespace LOWMEM_DEVICE

}  // namespace lowmem::kernels
