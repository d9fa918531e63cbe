#pragma once

#include <cstdint>

#include "lowmem/kernels/elements.h"
#include "lowmem/kernels/stream.h"

namespace lowmem::kernels {

// One update of stochastic gradient descent in a single pass:
//
//   g = scale * gradient + weight_decay * p      b = momentum * b + g      p -= lr * b
//
// The order of operations is torch.optim's: on the first update b = g, which a buffer of
// zeros gives.
struct SgdArgs {
  ParamView weights;
  ConstArray gradient;
  float* buffer = nullptr;  // b, fp32; null without momentum
  float scale = 1;          // of the gradient: a clipping coefficient
  float lr = 0, momentum = 0, weight_decay = 0;
};

// Updates elements [begin, end); ranges as in adam().
RoundingReport sgd(const SgdArgs& args, int64_t begin, int64_t end);

namespace LOWMEM_DEVICE {

// Updates elements [begin, end), of which the first is a multiple of kCodeBlock. What
// rounding would lose is added to *report, if that is given.
void sgd(const SgdArgs& args, int64_t begin, int64_t end, const Pending& pending,
         RoundingReport* report, Stream stream);

}  // namespace LOWMEM_DEVICE

}  // namespace lowmem::kernels
