#include "ops/widened_product.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "lowmem/core/units.h"
#include "lowmem/memory/ledger.h"
#include "lowmem/ops/large.h"

namespace lowmem::ops {
namespace {

at::Tensor bf16(at::IntArrayRef shape, uint64_t seed) {
  at::manual_seed(seed);
  return at::randn(shape).to(at::kBFloat16);
}

// The exact product, rounded once, and the fp32 sums' room for error beside it.
void expect_rounded_once(const at::Tensor& out, const at::Tensor& a, const at::Tensor& b,
                         const at::Tensor& bias = {}) {
  at::Tensor exact = at::mm(a.to(at::kDouble), b.to(at::kDouble));
  if (bias.defined()) exact.add_(bias.to(at::kDouble));
  const at::Tensor off = (out.to(at::kDouble) - exact).abs();
  const at::Tensor size = at::mm(a.to(at::kDouble).abs(), b.to(at::kDouble).abs());
  const at::Tensor most = exact.abs() / 256 + size * 2e-6 + 1e-30;  // half a unit
  EXPECT_TRUE((off <= most).all().item<bool>()) << (off / most).max().item<double>();
}

class WidenedProduct : public testing::TestWithParam<std::array<int64_t, 3>> {};

// All four orders in memory that a step has: x by weight, dy by weight, dy by x.
TEST_P(WidenedProduct, IsTheExactOneRoundedOnce) {
  const auto [n, k, m] = GetParam();
  const at::Tensor a = bf16({n, k}, 1), b = bf16({k, m}, 2), bias = bf16({m}, 3);
  const at::Tensor a_t = a.t().contiguous().t(), b_t = b.t().contiguous().t();
  at::Tensor first;
  for (const at::Tensor& left : {a, a_t}) {
    for (const at::Tensor& right : {b, b_t}) {
      at::Tensor out = at::full({n, m}, NAN, a.options());
      widened_product_into(out, left, right, {});
      expect_rounded_once(out, a, b);
      // Into a part of something wider.
      at::Tensor wide = at::full({n, m + 3}, NAN, a.options());
      at::Tensor part = wide.narrow(1, 2, m);
      widened_product_into(part, left, right, bias);
      expect_rounded_once(part, a, b, bias);
      EXPECT_TRUE(wide.narrow(1, 0, 2).isnan().all().item<bool>());
      EXPECT_TRUE(wide.narrow(1, m + 2, 1).isnan().all().item<bool>());
    }
  }
}

// The last three have several blocks of rows and columns, of the inner dimension, of all.
INSTANTIATE_TEST_SUITE_P(, WidenedProduct,
                         testing::Values(std::array<int64_t, 3>{1, 1, 1},
                                         std::array<int64_t, 3>{3, 70, 5},
                                         std::array<int64_t, 3>{64, 64, 64},
                                         std::array<int64_t, 3>{450, 2048, 500},
                                         std::array<int64_t, 3>{20, 9000, 30},
                                         std::array<int64_t, 3>{210, 4500, 220}));

TEST(WidenedProductEdge, OfNothingIsZeroOrTheBias) {
  const at::Tensor bias = bf16({3}, 1);
  at::Tensor out = at::full({2, 3}, NAN, bias.options());
  const at::Tensor a = at::empty({2, 0}, bias.options()),
                   b = at::empty({0, 3}, bias.options());
  widened_product_into(out, a, b, {});
  EXPECT_TRUE(out.equal(at::zeros_like(out)));
  widened_product_into(out, a, b, bias);
  EXPECT_TRUE(out.equal(bias.expand({2, 3})));
  at::Tensor none = at::empty({0, 3}, bias.options());
  widened_product_into(none, at::empty({0, 4}, bias.options()), bf16({4, 3}, 2), {});
}

// Few tokens make gradients of large matrices, many large ones of few: never more than is
// said beside what is there.
TEST(WidenedProductEdge, TakesLittleMemory) {
  memory::Ledger& ledger = memory::device_ledger();
  for (const auto& [n, k, m] :
       {std::array<int64_t, 3>{3000, 20, 2500}, std::array<int64_t, 3>{20, 3000, 2500},
        std::array<int64_t, 3>{2000, 5000, 70}}) {
    const at::Tensor a = bf16({n, k}, 1), b = bf16({k, m}, 2);
    at::Tensor out = at::empty({n, m}, a.options());
    ledger.take_peak();
    const int64_t before = ledger.current();
    widened_product_into(out, a, b, {});
    EXPECT_LE(ledger.take_peak() - before, kMiB) << n << " " << k << " " << m;
    expect_rounded_once(out, a, b);
  }
}

// Wherever it is taken, and wherever LibTorch's is: the same precision.
TEST(WidenedProductEdge, OrLibTorchsIsWhatALayerGets) {
  const at::Tensor x = bf16({33, 256}, 1), weight = bf16({65, 256}, 2),
                   bias = bf16({65}, 3);
  expect_rounded_once(product(x, weight.t()), x, weight.t());
  expect_rounded_once(product_with_bias(x, weight, bias), x, weight.t(), bias);
  at::Tensor out = at::empty({33, 65}, x.options());
  product_into(out, x, weight.t());
  expect_rounded_once(out, x, weight.t());
}

}  // namespace
}  // namespace lowmem::ops
