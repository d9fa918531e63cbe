#pragma once

#include <cstdint>

#include "lowmem/kernels/elements.h"

namespace lowmem::kernels {

// Sum of the squares of elements [begin, end), in double, always in the same order.
double squared_norm(const ConstArray& gradient, int64_t begin, int64_t end);

}  // namespace lowmem::kernels
