#pragma once

#include <cstdint>

#include "lowmem/kernels/elements.h"
#include "lowmem/kernels/stream.h"

namespace lowmem::kernels {

// Adafactor with a factored second moment and updates scaled to the size of the weights
// (after Shazeer & Stern 2018; without momentum, bias correction or update clipping).
// For a matrix p [rows, columns] with gradient g, t the update:
//
//   R += (1 - beta2) (mean of g^2 over each row    - R)      [rows]
//   C += (1 - beta2) (mean of g^2 over each column - C)      [columns]
//   u  = g / (sqrt(R / mean(R)) sqrt(C) + eps)
//   p -= lr * u * max(|p|, floor sqrt(rows columns)) / (|u| + 1e-20)
//
// (floor: eps2 of the paper and of torch.optim.Adafactor, without which a weight of zeros
// would never move.)
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

namespace LOWMEM_DEVICE {

// On the device the numbers between the passes stay there, and so there are two steps
// more: the averages and the factor. row_root and column_root, which the arguments point
// to, are written by the averages. The gradient's scale is args.scale * *pending.scale.
// Those that take rows [begin, end) look at nothing of others, which need not be there,
// and are called for all of them in order.
//
//   adafactor_statistics -> adafactor_averages -> adafactor_update_norm
//     -> adafactor_factor -> adafactor_write

// Sums of squares: of each row of g into row_sums [rows], of each row of p into
// weight_sums [rows], of each column of g into column_sums [columns], which the call
// with the last row writes. The workspace lasts until then.
void adafactor_statistics(const AdafactorArgs& args, int64_t begin, int64_t end,
                          const Pending& pending, double* row_sums, double* weight_sums,
                          float* column_sums, void* workspace, Stream stream);
// Bytes of its workspace: at most a few MiB.
int64_t adafactor_workspace(int64_t rows, int64_t columns);

// What the averages are made of and what becomes of them.
struct AdafactorAverages {
  double rate = 0;          // 1 - beta2
  float* row = nullptr;     // R [rows]; null for a vector
  float* column = nullptr;  // C, or V, [columns]
  float* row_root = nullptr;
  float* column_root = nullptr;
  // [1]: the squared norm of the scaled gradient is added to it. Null: not wanted.
  double* squared_norm = nullptr;
  double* squared_weight_norm = nullptr;  // [1]
};

// Sums up the statistics, moves R and C, or V, towards them and takes the roots.
//
// The averages move if pending.squared_norm lets an update write. That may be
// averages.squared_norm itself: the addition comes first and decides, so the caller
// starts it at 0, or at NaN to have nothing written at all. Or it is another number, such
// as the squared norm of all gradients, measured before.
void adafactor_averages(const AdafactorArgs& args, const AdafactorAverages& averages,
                        const double* row_sums, const double* weight_sums,
                        const float* column_sums, const Pending& pending, Stream stream);

// u^2 summed over each of rows [begin, end) into sums [rows].
void adafactor_update_norm(const AdafactorArgs& args, int64_t begin, int64_t end,
                           const Pending& pending, double* sums, Stream stream);

// *factor = lr max(sqrt(*squared_weight_norm), least_norm)
//           / (sqrt(the sum of `sums` [rows]) + 1e-20).
void adafactor_factor(int64_t rows, const double* sums, const double* squared_weight_norm,
                      double least_norm, double lr, const Pending& pending, float* factor,
                      Stream stream);

// p -= *factor * u for rows [begin, end). What rounding would lose is added to *report,
// if that is given.
void adafactor_write(const AdafactorArgs& args, const float* factor, int64_t begin,
                     int64_t end, const Pending& pending, RoundingReport* report,
                     Stream stream);

}  // namespace LOWMEM_DEVICE

}  // namespace lowmem::kernels
