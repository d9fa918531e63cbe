#pragma once

#include <cstddef>
#include <cstdint>

#include "lowmem/core/dtype.h"

namespace lowmem {

// Whether convert() knows the pair: F16, BF16, F32 or F64 to F32 or BF16.
bool can_convert(DType from, DType to);

// Converts `count` elements, rounding to nearest with ties to even, once: F64 to BF16
// does not round through F32. Infinities and signed zeros keep their sign, denormals
// their value, NaN stays NaN; what is too large becomes infinity.
//
// `source` and `destination` may have any alignment and must not overlap. A pair that
// can_convert() does not know throws std::invalid_argument.
void convert(DType from, const std::byte* source, DType to, std::byte* destination,
             int64_t count);

}  // namespace lowmem
