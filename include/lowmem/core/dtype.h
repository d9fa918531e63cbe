#pragma once

#include <cstdint>
#include <string_view>

namespace lowmem {

// Element types of weight files and of the configuration. Files may hold any of them; the
// model computes in kF32 and kBF16.
enum class DType { kF32, kF16, kBF16, kF64, kI64, kI32, kI16, kI8, kU8, kBool };

// Bytes an element.
int64_t dtype_size(DType dtype);

// The name safetensors uses: "F32", "BF16", ...
std::string_view dtype_name(DType dtype);

// The form in which a matrix lies in memory.
enum class Stored {
  kPlain,      // numbers of one type
  kNf4,        // codes of 4 bits, an fp32 scale for each 64 (kernels/nf4.h)
  kNf4Double,  // whose scales are codes themselves, of 8 bits
  kInt8,       // codes of 8 bits, an fp32 scale for each row (kernels/int8_rows.h)
};

}  // namespace lowmem
