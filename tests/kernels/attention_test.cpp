// Attention of one sequence: the same bits everywhere, and nothing outside its arrays.
#include "lowmem/kernels/attention.h"

#include <cmath>
#include <limits>
#include <memory>

#include "kernels/support.h"

namespace lowmem::kernels {
namespace {

using test::Cut, test::expect_same_bits, test::kWhole, test::Numbers;

struct Sizes {
  int64_t queries, keys, heads, kv_heads, head_dim, window = 0;
  bool masked() const { return queries != keys && window == 0; }
};
constexpr Sizes kSizes[] = {
    {1, 1, 1, 1, 1},        {7, 7, 4, 2, 5},       {17, 17, 6, 3, 16},
    {65, 65, 4, 4, 20},     {33, 33, 8, 2, 64},    {3, 18, 4, 2, 33},
    {1, 70, 6, 1, 8},       {40, 40, 4, 2, 16, 1}, {65, 65, 4, 4, 20, 17},
    {70, 70, 4, 2, 33, 16}, {30, 90, 4, 1, 8, 33}, {9, 9, 2, 2, 8, 9}};

// Everything that one call reads and writes, the workspace full of NaN.
struct Problem {
  Problem(const Sizes& sizes, DType dtype)
      : q(sizes.queries * sizes.heads * sizes.head_dim, dtype, 1),
        k(sizes.keys * sizes.kv_heads * sizes.head_dim, dtype, 2),
        v(k.count(), dtype, 3),
        dy(q.count(), dtype, 4),
        y(q.count(), dtype),
        dq(q.count(), dtype),
        dk(k.count(), dtype),
        dv(k.count(), dtype),
        mask(new bool[static_cast<size_t>(sizes.queries * sizes.keys)]) {
    args = {q.read_only(), k.read_only(),  v.read_only(),  sizes.queries, sizes.keys,
            sizes.heads,   sizes.kv_heads, sizes.head_dim, 0.3f,          nullptr};
    // Each query sees its own and a few others, the last query none.
    for (int64_t i = 0; i < sizes.queries; ++i)
      for (int64_t j = 0; j < sizes.keys; ++j)
        mask[static_cast<size_t>(i * sizes.keys + j)] =
            (i + j) % 3 == 0 && (sizes.queries == 1 || i + 1 < sizes.queries);
    if (sizes.masked()) args.mask = mask.get();
    args.window = sizes.window;
  }

  std::string forward(const Cut& cut) {
    Numbers workspace = empty_workspace();
    cut(args.kv_heads, [&](int64_t begin, int64_t end) {
      attention(args, y.array(), workspace.as<float>(), begin, end);
    });
    EXPECT_TRUE(y.guards_are_whole() && workspace.guards_are_whole());
    return y.bytes();
  }
  std::string backward(const Cut& cut) {
    Numbers workspace = empty_workspace();
    cut(args.kv_heads, [&](int64_t begin, int64_t end) {
      attention_backward(args, dy.read_only(), dq.array(), dk.array(), dv.array(),
                         workspace.as<float>(), begin, end);
    });
    EXPECT_TRUE(dq.guards_are_whole() && dk.guards_are_whole() && dv.guards_are_whole() &&
                workspace.guards_are_whole());
    return dq.bytes() + dk.bytes() + dv.bytes();
  }
  Numbers empty_workspace() const {
    Numbers workspace(attention_workspace(args), DType::kF32);
    for (int64_t i = 0; i < workspace.count(); ++i)
      workspace.set(i, std::numeric_limits<float>::quiet_NaN());
    return workspace;
  }

  Numbers q, k, v, dy, y, dq, dk, dv;
  std::unique_ptr<bool[]> mask;
  AttentionArgs args;
};

const std::vector<Cut> kHeads{{kWhole}, {1}, {1, true}, {2}};

class AttentionKernel : public testing::TestWithParam<DType> {};

TEST_P(AttentionKernel, GivesTheSameBits) {
  for (const Sizes& sizes : kSizes) {
    SCOPED_TRACE(std::to_string(sizes.queries) + " x " + std::to_string(sizes.keys));
    expect_same_bits(
        kHeads, [&](const Cut& cut) { return Problem(sizes, GetParam()).forward(cut); });
    expect_same_bits(
        kHeads, [&](const Cut& cut) { return Problem(sizes, GetParam()).backward(cut); });
  }
}

TEST_P(AttentionKernel, MakesNothingOfWhatItsWorkspaceHeld) {
  for (const Sizes& sizes : kSizes) {
    Problem problem(sizes, GetParam());
    problem.forward({kWhole});
    problem.backward({kWhole});
    for (const Numbers* numbers : {&problem.y, &problem.dq, &problem.dk, &problem.dv})
      for (int64_t i = 0; i < numbers->count(); ++i)
        ASSERT_FALSE(std::isnan(numbers->at(i))) << sizes.queries << ", " << i;
  }
}

TEST_P(AttentionKernel, AQueryThatSeesNothingGetsNothing) {
  const Sizes sizes{3, 18, 4, 2, 33};
  Problem problem(sizes, GetParam());
  problem.forward({kWhole});
  problem.backward({kWhole});
  const int64_t row = sizes.heads * sizes.head_dim;
  for (int64_t i = 2 * row; i < 3 * row; ++i) {
    ASSERT_EQ(problem.y.at(i), 0);
    ASSERT_EQ(problem.dq.at(i), 0);
  }
  EXPECT_NE(problem.y.at(0), 0);
  EXPECT_NE(problem.dq.at(0), 0);
}

INSTANTIATE_TEST_SUITE_P(Kernels, AttentionKernel,
                         testing::Values(DType::kF32, DType::kBF16),
                         [](const auto& given) {
                           return given.param == DType::kF32 ? "Fp32" : "Bf16";
                         });

}  // namespace
}  // namespace lowmem::kernels
