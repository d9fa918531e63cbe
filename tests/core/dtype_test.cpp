#include "lowmem/core/dtype.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace lowmem {
namespace {

// A floating-point or integer name ends in its bits.
TEST(DType, SizesAgreeWithTheNames) {
  for (DType dtype : {DType::kF64, DType::kF32, DType::kF16, DType::kBF16, DType::kI64,
                      DType::kI32, DType::kI16, DType::kI8, DType::kU8}) {
    const std::string name(dtype_name(dtype));
    const size_t digit = std::min(name.find_first_of("0123456789"), name.size());
    EXPECT_EQ(std::to_string(8 * dtype_size(dtype)), name.substr(digit)) << name;
  }
  EXPECT_EQ(dtype_name(DType::kBool), "BOOL");
  EXPECT_EQ(dtype_size(DType::kBool), 1);
}

}  // namespace
}  // namespace lowmem
