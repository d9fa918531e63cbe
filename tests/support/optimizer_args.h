#pragma once

// Updates that tests of several programs make: with no number that leaves a term out.

#include <string>

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

// Both kinds of decay at once. Averages of 8 bits have scales.
inline AdamArgs adam_args(const ParamView& weights, const ConstArray& gradient,
                          const Array& mean, const Array& mean_square,
                          float* mean_scales = nullptr, float* square_scales = nullptr) {
  return {.weights = weights,
          .gradient = gradient,
          .mean = {mean.data, mean.dtype, {1, 2, 3}, mean_scales},
          .mean_square = {mean_square.data, mean_square.dtype, {1, 2, 4}, square_scales},
          .scale = 0.7f,
          .mean_rate = 0.1f,
          .beta2 = 0.99f,
          .square_rate = 0.01f,
          .eps = 1e-8f,
          .step_size = 0.02f,
          .root = 0.3f,
          .most_ratio = 5.0f,
          .coupled_decay = 0.1f,
          .decoupled_keep = 0.999f};
}

// The averages of adam(): of fp32, of bf16, or of 8 bits with codes of all values.
// Numbers is a test program's own; `shift`, if given, is that of its constructor.
template <class Numbers>
class Averages {
 public:
  template <class... Shift>
  Averages(int64_t count, DType dtype, Shift... shift)
      : mean_(count, dtype, shift..., 4, 0, most(dtype)),
        square_(count, dtype, shift..., 5, 0, most(dtype)),
        mean_scales_(code_blocks(count), DType::kF32, shift..., 6, 0.5f, 1.0f),
        square_scales_(code_blocks(count), DType::kF32, shift..., 7, 0.5f, 1.0f) {
    if (dtype != DType::kU8) return;
    for (int64_t i = 0; i < count; i += 3) square_.set(i, 0);  // for what is lost there
  }

  AdamArgs args(const ParamView& weights, const ConstArray& gradient) {
    return adam_args(weights, gradient, mean_.array(), square_.array(),
                     mean_scales_.template as<float>(),
                     square_scales_.template as<float>());
  }
  std::string bytes() const {
    return mean_.bytes() + square_.bytes() + mean_scales_.bytes() +
           square_scales_.bytes();
  }

 private:
  static float most(DType dtype) { return dtype == DType::kU8 ? 256.0f : 1.0f; }

  Numbers mean_, square_, mean_scales_, square_scales_;
};

}  // namespace lowmem::kernels::test
