#pragma once

#include <cstdint>

#include "lowmem/kernels/elements.h"
#include "lowmem/kernels/stream.h"

namespace lowmem::kernels {

// y = x / sqrt(mean(x^2) + eps) * weight, row by row; fp32 in registers, one rounding.
struct RmsNormArgs {
  ConstArray x;       // [rows, columns]
  ConstArray weight;  // [columns]
  int64_t columns = 0;
  float eps = 0;
};

// Rows [begin, end) of y [rows, columns].
void rms_norm(const RmsNormArgs& args, Array y, int64_t begin, int64_t end);

// The gradients of rows [begin, end), with h = x / sqrt(mean(x^2) + eps):
//
//   dx = (dy weight - h mean(dy weight h)) / sqrt(mean(x^2) + eps)
//   dweight += sum over the rows of dy h           [columns] fp32; may be null
//
// dx.data may be null. Two passes over a row, which stays in cache; no temporary.
void rms_norm_backward(const RmsNormArgs& args, ConstArray dy, Array dx, float* dweight,
                       int64_t begin, int64_t end);

namespace LOWMEM_DEVICE {

void rms_norm(const RmsNormArgs& args, Array y, int64_t rows, Stream stream);

// `workspace` is needed for dweight only, which is added to.
void rms_norm_backward(const RmsNormArgs& args, ConstArray dy, Array dx, float* dweight,
                       float* workspace, int64_t rows, Stream stream);

// Numbers of its workspace: one a row, and at most 128 a column.
int64_t rms_norm_workspace(int64_t rows, int64_t columns);

}  // namespace LOWMEM_DEVICE

}  // namespace lowmem::kernels
