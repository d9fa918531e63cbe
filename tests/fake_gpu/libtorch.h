#pragma once

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <c10/core/AllocatorConfig.h>
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <string>

#include "fake_gpu/read_report.h"

namespace lowmem::test {

// LibTorch with its CUDA library on the fake GPU. No call that a GPU would refuse.
class FakeGpuLibTorch : public testing::Test {
 protected:
  void SetUp() override {
    LOWMEM_NEEDS_FAKE_GPU();
    static const bool is_loaded = load();
    if (!is_loaded) GTEST_SKIP() << "no libtorch_cuda.so that loads: " << reason();
    before_ = refusals();
  }
  void TearDown() override {
    if (!IsSkipped()) {
      EXPECT_EQ(refusals(), before_) << fake_gpu_report()["refused"];
    }
  }

  static at::Tensor zeros(at::IntArrayRef sizes, at::ScalarType type = at::kBFloat16) {
    return at::zeros(sizes, at::device(at::kCUDA).dtype(type));
  }

 private:
  static bool load() {
    c10::CachingAllocator::setAllocatorSettings("expandable_segments:True");
    if (dlopen(LOWMEM_TORCH_CUDA, RTLD_NOW | RTLD_GLOBAL) == nullptr) {
      reason() = dlerror();
      return false;
    }
    at::globalContext().lazyInitDevice(c10::kCUDA);
    return true;
  }
  static std::string& reason() {
    static std::string text;
    return text;
  }
  size_t before_ = 0;
};

}  // namespace lowmem::test
