// A real GPU; without one the program ends with a line and 77, which CTest counts as
// skipped.
#include <gtest/gtest.h>

#include <cstdio>

#include "device/device.h"
#include "lowmem/ops/cuda.h"

namespace lowmem::test {

c10::Device device() { return c10::Device(c10::kCUDA, 0); }

DeviceScope::DeviceScope() = default;
DeviceScope::~DeviceScope() = default;

}  // namespace lowmem::test

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (testing::GTEST_FLAG(list_tests)) return RUN_ALL_TESTS();
  if (!lowmem::ops::has_gpu()) {
    std::puts("skipped: these tests need a GPU, and none was found");
    return 77;
  }
  lowmem::ops::open_gpu();
  return RUN_ALL_TESTS();
}
