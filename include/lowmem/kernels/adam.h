#pragma once

#include <cstdint>
#include <limits>

#include "lowmem/kernels/elements.h"
#include "lowmem/kernels/stream.h"

namespace lowmem::kernels {

// One update of Adam or AdamW in a single pass, with no temporary:
//
//   g  = scale * gradient (+ weight_decay * p, coupled)
//   m += (1 - beta1) (g - m)          v = beta2 v + (1 - beta2) g^2
//   p  = p (1 - lr * weight_decay, decoupled) - step_size * m / (sqrt(v) / root + eps)
//
// with step_size = lr / (1 - beta1^t) and root = sqrt(1 - beta2^t).
// Kingma & Ba 2015; Loshchilov & Hutter 2019; the order of operations is torch.optim's.
//
// Averages of 8 bits (Dettmers et al. 2022) are read from codes, and the weights made of
// the new ones before these become codes. One thing is added to bitsandbytes' rule. There
// a v below 1.6e-7 of its block's largest becomes 0 where m need not, and such weights
// then move by thousands of lr. But exact averages have
//
//   m^2 <= most_ratio * v,  most_ratio = (1-beta1)^2 / (1-beta2) * (1-q^t) / (1-q),
//                           q = beta1^2 / beta2  (Cauchy and Schwarz, over t terms)
//
// So where the old v was read as 0 and the new m and v break that, v was lost: the most
// that it may have been is put back, times beta2. All other elements are bitsandbytes'.
struct AdamArgs {
  ParamView weights;
  ConstArray gradient;
  State mean;           // m
  State mean_square;    // v
  float scale = 1;      // of the gradient: a clipping coefficient
  float mean_rate = 0;  // 1 - beta1, taken in double: in float it would lose digits
  float beta2 = 0;
  float square_rate = 0;  // 1 - beta2, likewise
  float eps = 0;
  float step_size = 0, root = 1;
  float most_ratio = std::numeric_limits<float>::infinity();  // of m^2 and v; of 8 bits
  float coupled_decay = 0;   // adam: weight_decay, added to the gradient
  float decoupled_keep = 1;  // adamw: 1 - lr * weight_decay
};

// Updates elements [begin, end). Disjoint ranges may run on different threads; the result
// does not depend on how they are cut. With averages of 8 bits they are cut at multiples
// of kCodeBlock.
RoundingReport adam(const AdamArgs& args, int64_t begin, int64_t end);

namespace LOWMEM_DEVICE {

// Updates elements [begin, end), of which the first is a multiple of kCodeBlock. What
// rounding would lose is added to *report, if that is given.
void adam(const AdamArgs& args, int64_t begin, int64_t end, const Pending& pending,
          RoundingReport* report, Stream stream);

}  // namespace LOWMEM_DEVICE

}  // namespace lowmem::kernels
