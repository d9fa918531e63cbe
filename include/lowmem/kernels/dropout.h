#pragma once

#include <cstdint>

#include "lowmem/kernels/elements.h"
#include "lowmem/kernels/stream.h"

namespace lowmem::kernels {

// Leaves elements out of some rows of a matrix, and makes the others larger for it:
//
//   value = kept ? value * scale : 0
//
// Whether one is kept is a function of the noise's numbers and of the element's place in
// the whole matrix, rows[i] * width + its column: not of how the matrix is cut.
// Srivastava et al. 2014.
struct DropoutArgs {
  float* values = nullptr;  // row i from i * stride on
  int64_t stride = 0;
  const int64_t* rows = nullptr;   // which one of the whole matrix each is
  int64_t first = 0, columns = 0;  // those that are here, of
  int64_t width = 0;
  uint32_t left_out = 0;  // of 65,536 elements, in the mean
  float scale = 1;
  Noise noise;
};

// Of rows [begin, end).
void dropout(const DropoutArgs& args, int64_t begin, int64_t end);

namespace LOWMEM_DEVICE {

// Of all `rows`, whose numbers are the device's.
void dropout(const DropoutArgs& args, int64_t rows, Stream stream);

}  // namespace LOWMEM_DEVICE

}  // namespace lowmem::kernels
