#pragma once

#include <cstdint>

#include "lowmem/kernels/elements.h"
#include "lowmem/kernels/stream.h"

namespace lowmem::kernels {

// Sum of the squares of elements [begin, end), in double, always in the same order.
double squared_norm(const ConstArray& gradient, int64_t begin, int64_t end);

namespace LOWMEM_DEVICE {

// Elements whose squares are summed up by themselves, whatever else is there.
constexpr int64_t kNormPiece = 4096;
constexpr int64_t norm_pieces(int64_t count) {
  return (count + kNormPiece - 1) / kNormPiece;
}

// pieces[k] = the sum of the squares of piece k, for elements [begin, end): multiples of
// kNormPiece, but for the end of the whole.
void squared_norms(const ConstArray& gradient, int64_t begin, int64_t end, double* pieces,
                   Stream stream);
// Adds the sum of so many pieces to *sum. It stays finite exactly as long as the elements
// are: a float's square cannot overflow a double.
void add_squared_norms(const double* pieces, int64_t count, double* sum, Stream stream);

}  // namespace LOWMEM_DEVICE

}  // namespace lowmem::kernels
