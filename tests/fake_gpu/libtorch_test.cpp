// LibTorch's CUDA library on the fake GPU: that the fake has what it needs, and what its
// parts cost in launches, waits and memory.
#include "fake_gpu/libtorch.h"

#include <ATen/ATen.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <gmock/gmock.h>

namespace lowmem::test {
namespace {

using testing::ElementsAre, testing::IsEmpty;

TEST_F(FakeGpuLibTorch, ProductsGoToCublas) {
  for (const auto type : {at::kBFloat16, at::kFloat}) {
    const at::Tensor a = zeros({32, 64}, type), b = zeros({48, 64}, type);
    const auto flops = counted("/products/flops", [&] { at::mm(a, b.t()); });
    EXPECT_EQ(flops, 2 * 32 * 64 * 48) << type;
  }
}

TEST_F(FakeGpuLibTorch, BiasGoesToCublasLt) {
  const at::Tensor a = zeros({32, 64}), b = zeros({48, 64}), bias = zeros({48});
  const auto flops = counted("/products/flops", [&] { at::linear(a, b, bias); });
  EXPECT_EQ(flops, 2 * 32 * 64 * 48);
}

TEST_F(FakeGpuLibTorch, BackwardWaitsForNothing) {
  const at::Tensor w = zeros({64, 64}).requires_grad_(), x = zeros({32, 64});
  const auto step = [&] {
    at::rms_norm(at::mm(x, w), {64}, {}, 1e-5).pow(2).sum().backward();
    w.mutable_grad().reset();
  };
  step();
  EXPECT_EQ(counted("/host_waits/count", step), 0);
  EXPECT_EQ(counted("/products/count", step), 2);
}

TEST_F(FakeGpuLibTorch, FlashAttentionIsLaunched) {
  const at::Tensor q = zeros({96, 8, 64}), k = zeros({96, 2, 64}), v = zeros({96, 2, 64});
  const at::Tensor offsets =
      at::tensor({0, 40, 96}, at::kInt).pin_memory().to(at::kCUDA, /*non_blocking=*/true);
  const auto forward = [&] {
    return at::_flash_attention_forward(q, k, v, offsets, offsets, 56, 56, 0.0, true,
                                        false);
  };
  forward();
  EXPECT_EQ(counted("/host_waits/count", forward), 0);
  const auto made = forward();
  EXPECT_GE(counted("/launches",
                    [&] {
                      at::_flash_attention_backward(q, q, k, v, std::get<0>(made),
                                                    std::get<1>(made), offsets, offsets,
                                                    56, 56, 0.0, true, std::get<2>(made),
                                                    std::get<3>(made));
                    }),
            3);
  std::string all = fake_gpu_report()["kernels"]["by_name"].dump();
  for (const char* name : {"flash_fwd_kernel", "flash_bwd_dq_dk_dv"})
    EXPECT_NE(all.find(name), std::string::npos) << name;
}

TEST_F(FakeGpuLibTorch, CopiesArrive) {
  const at::Tensor numbers = at::arange(1000);
  EXPECT_TRUE(numbers.to(at::kCUDA).clone().cpu().equal(numbers));
}

TEST_F(FakeGpuLibTorch, SegmentsGrowAndGoBack) {
  auto* allocator = c10::getDeviceAllocator(c10::kCUDA);
  const auto used = [] {
    return fake_gpu_report()["memory"]["used_bytes"].get<int64_t>();
  };
  constexpr int64_t kLarge = int64_t{8} << 30, kSlack = int64_t{64} << 20;
  const int64_t before = used();
  {
    const at::Tensor large = at::empty({kLarge}, at::device(at::kCUDA).dtype(at::kByte));
    EXPECT_GT(used(), before + kLarge - kSlack);
  }
  allocator->emptyCache({0, 0});
  EXPECT_LE(used(), before);
}

TEST_F(FakeGpuLibTorch, TooLargeATensorIsOutOfMemory) {
  EXPECT_THROW(at::empty({int64_t{1} << 40}, at::device(at::kCUDA).dtype(at::kByte)),
               c10::OutOfMemoryError);
}

}  // namespace
}  // namespace lowmem::test
