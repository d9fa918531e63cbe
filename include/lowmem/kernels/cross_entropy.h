#pragma once

#include <cstdint>

#include "lowmem/kernels/elements.h"
#include "lowmem/kernels/stream.h"

namespace lowmem::kernels {

// Logits [rows, columns] of a slice of the vocabulary that begins at class `first`.
struct LogitSlice {
  Array logits;
  int64_t columns = 0;
  int64_t first = 0;
  const int64_t* labels = nullptr;  // [rows], of the whole vocabulary
};

// What is known of each row after some slices, all [rows] fp32.
struct SoftmaxRows {
  float* largest;      // logit so far; -infinity at first
  float* sum;          // of e^(logit - largest); 0 at first
  float* label_logit;  // once its slice has been seen
  float* factor;       // e^(largest before this slice - largest now)
};

// Takes a slice into account for rows [begin, end). With `exponentials`, the logits
// become e^(logit - largest): sums over classes made with those of earlier slices are
// brought to the new `largest` by multiplying with `factor`. Milakov & Gimelshein 2018,
// "Online normalizer calculation for softmax".
void softmax_slice(const LogitSlice& slice, const SoftmaxRows& rows, bool exponentials,
                   int64_t begin, int64_t end);

// The logits of rows [begin, end) become the loss's gradient by them,
// scale (e^(logit - log_sum_exp) - [class is the label]).
void cross_entropy_gradient(const LogitSlice& slice, const float* log_sum_exp,
                            float scale, int64_t begin, int64_t end);

namespace LOWMEM_DEVICE {

void softmax_slice(const LogitSlice& slice, const SoftmaxRows& rows, bool exponentials,
                   int64_t count, Stream stream);

void cross_entropy_gradient(const LogitSlice& slice, const float* log_sum_exp,
                            float scale, int64_t count, Stream stream);

}  // namespace LOWMEM_DEVICE

}  // namespace lowmem::kernels
