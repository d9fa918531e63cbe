#include "lowmem/kernels/norm.h"

namespace lowmem::kernels {

double squared_norm(const Gradient& gradient, int64_t begin, int64_t end) {
  return with_type(gradient, [&](const auto* g) {
    double sum = 0;
    for (int64_t i = begin; i < end; ++i) {
      const double x = to_float(g[i]);
      sum += x * x;
    }
    return sum;
  });
}

}  // namespace lowmem::kernels
