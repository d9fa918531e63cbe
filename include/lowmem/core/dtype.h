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

}  // namespace lowmem
