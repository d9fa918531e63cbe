#pragma once

// Updates that tests of several programs make: with no number that leaves a term out.

#include "lowmem/kernels/adam.h"
#include "lowmem/kernels/sgd.h"

namespace lowmem::kernels::test {

// `buffer`: null without momentum.
inline SgdArgs sgd_args(const ParamView& weights, const ConstArray& gradient,
                        float* buffer) {
  return {.weights = weights,
          .gradient = gradient,
          .buffer = buffer,
          .scale = 0.7f,
          .lr = 0.01f,
          .momentum = 0.9f,
          .weight_decay = 0.1f};
}

// Both kinds of decay at once.
inline AdamArgs adam_args(const ParamView& weights, const ConstArray& gradient,
                          const Array& mean, const Array& mean_square) {
  return {.weights = weights,
          .gradient = gradient,
          .mean = {mean.data, mean.dtype, {1, 2, 3}},
          .mean_square = {mean_square.data, mean_square.dtype, {1, 2, 4}},
          .scale = 0.7f,
          .mean_rate = 0.1f,
          .beta2 = 0.99f,
          .square_rate = 0.01f,
          .eps = 1e-8f,
          .step_size = 0.02f,
          .root = 0.3f,
          .coupled_decay = 0.1f,
          .decoupled_keep = 0.999f};
}

}  // namespace lowmem::kernels::test
