#pragma once

#include <cstdint>

#include "lowmem/kernels/elements.h"

namespace lowmem::kernels {

// Adafactor with a factored second moment and updates scaled to the size of the weights
// (after Shazeer & Stern 2018; without momentum, bias correction or update clipping).
// For a matrix p [rows, columns] with gradient g, t the update:
//
//   R += (1 - beta2) (mean of g^2 over each row    - R)      [rows]
//   C += (1 - beta2) (mean of g^2 over each column - C)      [columns]
//   u  = g / (sqrt(R / mean(R)) sqrt(C) + eps)
//   p -= lr * u * |p| / (|u| + 1e-20)
//
// A vector keeps its whole second moment V [columns] in place of R and C.
//
// Three passes over the gradient and two over the weights, with no temporary of their
// size. Each pass works on ranges that threads may share out as they like; sums of a
// range are returned in double, a row or a block at a time, for the caller to add up in
// order.
struct AdafactorArgs {
  ParamView weights;
  ConstArray gradient;
  int64_t rows = 1, columns = 0;
  float scale = 1;  // of the gradient: a clipping coefficient
  float eps = 0;
  const float* row_root = nullptr;     // sqrt(R / mean(R)); null for a vector
  const float* column_root = nullptr;  // sqrt(C), or sqrt(V) for a vector
};

// Sums of squares of rows [begin, end): g^2 into row_sums[row], and added to
// column_sums[column]; p^2 into weight_sums[row].
void adafactor_statistics(const AdafactorArgs& args, int64_t begin, int64_t end,
                          double* row_sums, double* weight_sums, float* column_sums);

// u^2 summed over each of rows [begin, end) into sums[row].
void adafactor_update_norm(const AdafactorArgs& args, int64_t begin, int64_t end,
                           double* sums);

// p -= factor * u for rows [begin, end).
RoundingReport adafactor_write(const AdafactorArgs& args, float factor, int64_t begin,
                               int64_t end);

}  // namespace lowmem::kernels
