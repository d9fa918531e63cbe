#include "lowmem/kernels/adam.h"

#include <cmath>

namespace lowmem::kernels {

void adam(const AdamArgs& a, int64_t begin, int64_t end) {
  with_type(a.weights, [&](auto* weights) {
    with_type(a.gradient, [&](const auto* gradient) {
      Store store(a.rounding, a.noise);
      for (int64_t i = begin; i < end; ++i) {
        const float p = to_float(weights[i]);
        const float g = a.scale * to_float(gradient[i]) + a.coupled_decay * p;
        const float m = a.mean[i] + a.mean_rate * (g - a.mean[i]);
        const float v = a.beta2 * a.mean_square[i] + a.square_rate * g * g;
        a.mean[i] = m;
        a.mean_square[i] = v;
        const float denominator = std::sqrt(v) / a.root + a.eps;
        store(weights, i, p * a.decoupled_keep - a.step_size * (m / denominator));
      }
    });
  });
}

}  // namespace lowmem::kernels
