#pragma once

#include <cstdint>

#include "lowmem/kernels/elements.h"
#include "lowmem/kernels/stream.h"

namespace lowmem::kernels {

// Sum of the squares of elements [begin, end), in double, always in the same order.
double squared_norm(const ConstArray& gradient, int64_t begin, int64_t end);

namespace LOWMEM_DEVICE {

// Adds the sum of the squares of `count` elements to *sum. It stays finite exactly as
// long as they are: a float's square cannot overflow a double.
void squared_norm(const ConstArray& gradient, int64_t count, double* sum,
                  double* workspace, Stream stream);

// Numbers of its workspace, whatever the count.
constexpr int64_t kSquaredNormWorkspace = 1024;

}  // namespace LOWMEM_DEVICE

}  // namespace lowmem::kernels
