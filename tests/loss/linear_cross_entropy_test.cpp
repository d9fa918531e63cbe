// The sliced loss against autograd of the plain formula in float64.
#include "lowmem/loss/linear_cross_entropy.h"

#include "lowmem/engine/memory_meter.h"
#include "support/tensors.h"

namespace lowmem::loss {
namespace {

using test::normal, test::relative_difference;

struct Problem {
  at::Tensor hidden, weight, labels;

  Problem(int64_t rows, int64_t vocabulary, int64_t width, at::ScalarType hidden_dtype,
          at::ScalarType weight_dtype)
      : hidden(normal({rows, width}, 1, hidden_dtype)),
        weight(normal({vocabulary, width}, 2, weight_dtype)),
        labels((at::arange(rows, at::kLong) * 7 + vocabulary - 1) % vocabulary) {}

  LossRequest request(float scale = 1) const {
    return {hidden, weight, labels, scale, true, at::zeros(weight.sizes(), at::kFloat)};
  }
};

struct Expected {
  double sum = 0;
  at::Tensor log_probabilities, hidden_gradient, weight_gradient;
};

Expected expected(const Problem& problem, double scale = 1) {
  const at::Tensor hidden = problem.hidden.to(at::kDouble).requires_grad_();
  const at::Tensor weight = problem.weight.to(at::kDouble).requires_grad_();
  const at::Tensor own = hidden.mm(weight.t())
                             .log_softmax(1)
                             .gather(1, problem.labels.unsqueeze(1))
                             .squeeze(1);
  const at::Tensor sum = -own.sum();
  (sum * scale).backward();
  return {sum.item<double>(), own.detach(), hidden.grad(), weight.grad()};
}

void expect_equal(const Problem& problem, const LossOptions& options, double tolerance,
                  float scale = 1) {
  const Expected want = expected(problem, scale);
  const LossRequest request = problem.request(scale);
  const Loss got = linear_cross_entropy(request, options);
  EXPECT_NEAR(got.sum, want.sum, tolerance * want.sum);
  EXPECT_EQ(got.hidden_gradient.scalar_type(), problem.hidden.scalar_type());
  EXPECT_LE(relative_difference(got.hidden_gradient, want.hidden_gradient), tolerance);
  EXPECT_LE(relative_difference(request.weight_gradient, want.weight_gradient),
            tolerance);
  const at::Tensor own =
      label_log_probabilities(problem.hidden, problem.weight, problem.labels, options);
  EXPECT_EQ(own.scalar_type(), at::kFloat);
  EXPECT_LE(relative_difference(own, want.log_probabilities), tolerance);
}

TEST(LinearCrossEntropy, EqualsThePlainFormulaForEverySliceOfTheVocabulary) {
  const Problem problem(13, 101, 24, at::kFloat, at::kFloat);
  for (int64_t rows = 1; rows <= 102; ++rows) {
    SCOPED_TRACE(rows);
    expect_equal(problem, {true, rows * 13 * 4}, 2e-6);
  }
}

TEST(LinearCrossEntropy, ABudgetBelowOneVocabularyRowIsOneRow) {
  expect_equal(Problem(13, 101, 24, at::kFloat, at::kFloat), {true, 1}, 2e-6);
}

TEST(LinearCrossEntropy, OneRowEqualsThePlainFormula) {
  for (const int64_t bytes : {4, 28, 1000})
    expect_equal(Problem(1, 101, 24, at::kFloat, at::kFloat), {true, bytes}, 2e-6);
}

TEST(LinearCrossEntropy, ScalesTheGradientsAlone) {
  for (const float scale : {0.125f, 3.0f})
    expect_equal(Problem(13, 101, 24, at::kFloat, at::kFloat), {true, 400}, 2e-6, scale);
}

TEST(LinearCrossEntropy, BfloatInputsStayCloseToTheExactFormula) {
  for (const auto weight : {at::kFloat, at::kBFloat16})
    for (const int64_t bytes : {1, 1000, 1 << 20}) {
      SCOPED_TRACE(weight);
      expect_equal(Problem(13, 101, 24, at::kBFloat16, weight), {true, bytes}, 0.02);
    }
}

TEST(LinearCrossEntropy, LargeLogitsDoNotOverflow) {
  Problem problem(13, 101, 24, at::kFloat, at::kFloat);
  problem.weight *= 100;
  for (const int64_t bytes : {1, 1000, 1 << 20})
    expect_equal(problem, {true, bytes}, 1e-5);
}

TEST(LinearCrossEntropy, SlicesChangeTheWholeResultByRoundingOnly) {
  const Problem problem(13, 101, 24, at::kFloat, at::kFloat);
  const LossRequest whole = problem.request(), sliced = problem.request();
  const Loss a = linear_cross_entropy(whole, {.chunked = false, .chunk_bytes = 1});
  const Loss b = linear_cross_entropy(sliced, {.chunked = true, .chunk_bytes = 500});
  EXPECT_NEAR(a.sum, b.sum, 1e-6 * a.sum);
  EXPECT_LE(relative_difference(a.hidden_gradient, b.hidden_gradient), 1e-6);
  EXPECT_LE(relative_difference(whole.weight_gradient, sliced.weight_gradient), 1e-6);
}

TEST(LinearCrossEntropy, AddsToTheWeightGradient) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const Problem problem(13, 101, 24, dtype, at::kFloat);
    const LossRequest zeros = problem.request();
    LossRequest ones = problem.request();
    ones.weight_gradient = at::ones({101, 24}, at::kFloat);
    linear_cross_entropy(zeros, {true, 2000});
    linear_cross_entropy(ones, {true, 2000});
    EXPECT_LE(relative_difference(ones.weight_gradient - 1, zeros.weight_gradient), 1e-6);
  }
}

TEST(LinearCrossEntropy, MakesOnlyTheGradientsAskedFor) {
  const Problem problem(13, 101, 24, at::kFloat, at::kFloat);
  const Loss both = linear_cross_entropy(problem.request(), {true, 500});
  LossRequest request = problem.request();
  request.hidden_gradient = false;
  EXPECT_FALSE(linear_cross_entropy(request, {true, 500}).hidden_gradient.defined());
  EXPECT_GT(request.weight_gradient.abs().max().item<float>(), 0);

  request.weight_gradient.reset();
  const Loss none = linear_cross_entropy(request, {true, 500});
  EXPECT_FALSE(none.hidden_gradient.defined());
  EXPECT_EQ(none.sum, both.sum);

  request.hidden_gradient = true;
  const Loss hidden = linear_cross_entropy(request, {true, 500});
  EXPECT_TRUE(at::equal(hidden.hidden_gradient, both.hidden_gradient));
}

TEST(LinearCrossEntropy, NoRowsGiveNoLossAndNoGradient) {
  const Problem problem(0, 101, 24, at::kFloat, at::kFloat);
  const LossRequest request = problem.request();
  const Loss loss = linear_cross_entropy(request, {});
  EXPECT_EQ(loss.sum, 0);
  EXPECT_EQ(loss.hidden_gradient.sizes(), (at::IntArrayRef{0, 24}));
  EXPECT_EQ(request.weight_gradient.abs().max().item<float>(), 0);
  EXPECT_EQ(
      label_log_probabilities(problem.hidden, problem.weight, problem.labels, {}).sizes(),
      at::IntArrayRef{0});
}

struct Types {
  at::ScalarType hidden, weight;
};

class Memory : public testing::TestWithParam<Types> {};

TEST_P(Memory, StaysNearTheBudgetWhileTheLogitsWouldNot) {
  engine::memory_meter::install();
  constexpr int64_t kRows = 64, kVocabulary = 32000, kWidth = 256, kBudget = kMiB;
  const Problem problem(kRows, kVocabulary, kWidth, GetParam().hidden, GetParam().weight);
  const LossOptions options{.chunk_bytes = kBudget};
  const auto extra = [](auto&& f) {
    engine::memory_meter::reset_peaks();
    const int64_t before = engine::memory_meter::current_bytes();
    f();
    return engine::memory_meter::peak_bytes() - before;
  };
  const LossRequest trained_head = problem.request();
  LossRequest frozen_head = trained_head;
  frozen_head.weight_gradient.reset();
  constexpr int64_t kLimit = kBudget + 8 * kRows * kWidth * 4;
  EXPECT_LE(extra([&] { linear_cross_entropy(trained_head, options); }), kLimit);
  EXPECT_LE(extra([&] { linear_cross_entropy(frozen_head, options); }), kLimit);
  EXPECT_LE(extra([&] {
              label_log_probabilities(problem.hidden, problem.weight, problem.labels,
                                      options);
            }),
            kLimit);
  EXPECT_GE(extra([&] { linear_cross_entropy(frozen_head, {.chunked = false}); }),
            kRows * kVocabulary * 4);
}

INSTANTIATE_TEST_SUITE_P(LinearCrossEntropy, Memory,
                         testing::Values(Types{at::kFloat, at::kFloat},
                                         Types{at::kBFloat16, at::kBFloat16},
                                         Types{at::kBFloat16, at::kFloat}),
                         [](const auto& given) {
                           return std::string(at::toString(given.param.hidden)) + "With" +
                                  at::toString(given.param.weight);
                         });

}  // namespace
}  // namespace lowmem::loss
