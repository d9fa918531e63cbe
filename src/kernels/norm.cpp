#include "lowmem/kernels/norm.h"

#include "vector.h"

namespace lowmem::kernels {
namespace LOWMEM_ISA {

double squared_norm(const ConstArray& gradient, int64_t begin, int64_t end) {
  return with_type(gradient, [&](const auto* g) {
    DoubleSum sum;
    for_lanes(begin, end,
              [&](int64_t i, auto lanes) { sum.add_square(load(g + i, lanes)); });
    return sum.total();
  });
}

}  // namespace LOWMEM_ISA

LOWMEM_DISPATCH(double, squared_norm,
                (const ConstArray& gradient, int64_t begin, int64_t end),
                (gradient, begin, end))

}  // namespace lowmem::kernels
