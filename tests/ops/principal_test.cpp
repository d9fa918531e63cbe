#include "lowmem/ops/principal.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "lowmem/memory/ledger.h"
#include "lowmem/memory/rehearsal.h"

namespace lowmem::ops {
namespace {

double largest(const at::Tensor& tensor) { return tensor.abs().max().item<double>(); }

class PrincipalPart : public testing::TestWithParam<std::array<int64_t, 3>> {};

TEST_P(PrincipalPart, IsThatOfTheSingularValueDecomposition) {
  const auto [out, in, rank] = GetParam();
  at::manual_seed(4);
  const at::Tensor matrix = at::randn({out, in});
  const auto [u, s, vh] = at::linalg_svd(matrix.to(at::kDouble), /*full_matrices=*/false);
  const Principal part = principal_part(matrix, rank);
  EXPECT_TRUE(part.left.is_contiguous() && part.right.is_contiguous());
  const double most = s[0].item<double>();
  EXPECT_LT(largest(part.values - s.narrow(0, 0, rank)), 1e-6 * most);
  const at::Tensor product = part.left.mul(part.values).matmul(part.right);
  const at::Tensor want =
      u.narrow(1, 0, rank).mul(s.narrow(0, 0, rank)).matmul(vh.narrow(0, 0, rank));
  EXPECT_LT(largest(product - want), 2e-6 * most);
  const at::Tensor identity = at::eye(rank);
  EXPECT_LT(largest(part.left.t().matmul(part.left) - identity), 1e-5);
  EXPECT_LT(largest(part.right.matmul(part.right.t()) - identity), 1e-5);
}

// Tall, wide, square, all of one, and of several slices.
INSTANTIATE_TEST_SUITE_P(, PrincipalPart,
                         testing::Values(std::array<int64_t, 3>{40, 12, 5},
                                         std::array<int64_t, 3>{12, 40, 5},
                                         std::array<int64_t, 3>{9, 9, 9},
                                         std::array<int64_t, 3>{5, 1, 1},
                                         std::array<int64_t, 3>{9000, 128, 8}));

// Directions that the matrix does not have are nothing, and no NaN.
TEST(PrincipalParts, OfALowerRankEndInZeros) {
  at::manual_seed(4);
  const at::Tensor matrix = at::randn({20, 3}).matmul(at::randn({3, 16}));
  const Principal part = principal_part(matrix, 5);
  EXPECT_LT(largest(part.values.narrow(0, 3, 2)), 1e-5 * part.values[0].item<double>());
  EXPECT_LT(largest(part.left.mul(part.values).matmul(part.right) - matrix), 1e-5);
  const Principal none = principal_part(at::zeros({4, 6}), 2);
  EXPECT_EQ(largest(none.right), 0);
  EXPECT_EQ(largest(none.values), 0);
}

TEST(PrincipalParts, RehearsalsTakeTheRoomThatTheyTake) {
  memory::Ledger& ledger = memory::device_ledger();
  for (const auto& [out, in] : {std::pair{900, 400}, std::pair{400, 1200},
                                std::pair{96, 192}, std::pair{6000, 64}}) {
    for (const bool orthogonal : {false, true}) {
      const at::Tensor matrix = at::randn({out, in});
      const auto peak = [&] {
        ledger.take_peak();
        const int64_t before = ledger.current();
        if (orthogonal)
          orthogonal_part(matrix, 16);
        else
          principal_part(matrix, 16);
        return static_cast<double>(ledger.take_peak() - before);
      };
      const double real = peak();
      double rehearsed = 0;
      {
        const memory::Rehearsal rehearsal;
        rehearsed = peak();
      }
      EXPECT_GE(rehearsed, 0.98 * real) << out << " " << in << " " << orthogonal;
      // The workspace of a product or of QR depends on the number of threads.
      EXPECT_LE(rehearsed, 1.2 * real + 4096) << out << " " << in << " " << orthogonal;
    }
  }
}

TEST(OrthogonalPart, IsTheFirstOfQAndR) {
  for (const auto& [out, in] :
       {std::pair{30, 20}, std::pair{20, 30}, std::pair{9000, 130}}) {
    at::manual_seed(5);
    const at::Tensor matrix = at::randn({out, in});
    const auto [q, r] = at::linalg_qr(matrix.to(at::kDouble), "reduced");
    const OrthogonalPart part = orthogonal_part(matrix, 6);
    EXPECT_TRUE(part.q.is_contiguous() && part.r.is_contiguous());
    EXPECT_LT(largest(part.q - q.narrow(1, 0, 6)), 1e-6);
    EXPECT_LT(largest(part.r - r.narrow(0, 0, 6)), 1e-5 * largest(r));
  }
}

}  // namespace
}  // namespace lowmem::ops
