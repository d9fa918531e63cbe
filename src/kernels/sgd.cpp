#include "lowmem/kernels/sgd.h"

namespace lowmem::kernels {

void sgd(const SgdArgs& a, int64_t begin, int64_t end) {
  with_type(a.weights, [&](auto* weights) {
    with_type(a.gradient, [&](const auto* gradient) {
      Store store(a.rounding, a.noise);
      for (int64_t i = begin; i < end; ++i) {
        const float p = to_float(weights[i]);
        float step = a.scale * to_float(gradient[i]) + a.weight_decay * p;
        if (a.buffer != nullptr) step = a.buffer[i] = a.momentum * a.buffer[i] + step;
        store(weights, i, p - a.lr * step);
      }
    });
  });
}

}  // namespace lowmem::kernels
