// The sliced loss against the plain formula in float64: its autograd and its finite
// differences.
#include "lowmem/loss/linear_cross_entropy.h"

#include <ATen/Parallel.h>

#include <cmath>
#include <limits>

#include "lowmem/memory/meter.h"
#include "support/tensors.h"

namespace lowmem::loss {
namespace {

using test::normal, test::relative_difference;

struct Problem {
  at::Tensor hidden, weight, labels;

  Problem(int64_t rows, int64_t vocabulary, int64_t width,
          at::ScalarType hidden_dtype = at::kFloat,
          at::ScalarType weight_dtype = at::kFloat)
      : hidden(normal({rows, width}, 1, hidden_dtype)),
        weight(normal({vocabulary, width}, 2, weight_dtype)),
        // The last class, the first, and others.
        labels(((at::arange(rows, at::kLong) * 7 + vocabulary - 1) % vocabulary)) {
    if (rows > 1) labels[1].fill_(0);
  }

  LossRequest request(float scale = 1) const { return {hidden, weight, labels, scale}; }
  // The budget that makes slices of so many classes.
  LossOptions slices_of(int64_t classes) const {
    int64_t bytes = hidden.size(0) * hidden.element_size();
    if (weight.scalar_type() != hidden.scalar_type())
      bytes += weight.size(1) * hidden.element_size();
    return {true, classes * bytes};
  }
};

// All that the loss gives, in float64 for the formula.
struct Results {
  double sum = 0;
  at::Tensor log_sum_exp, log_probabilities, hidden_gradient, head_gradient;
};

Results formula(const Problem& problem, double scale = 1) {
  const at::Tensor hidden = problem.hidden.to(at::kDouble).requires_grad_();
  const at::Tensor weight = problem.weight.to(at::kDouble).requires_grad_();
  const at::Tensor logits = hidden.mm(weight.t());
  const at::Tensor own =
      logits.log_softmax(1).gather(1, problem.labels.unsqueeze(1)).squeeze(1);
  const at::Tensor sum = -own.sum();
  (sum * scale).backward();
  return {sum.item<double>(), logits.detach().logsumexp(1), own.detach(), hidden.grad(),
          weight.grad()};
}

// The scaled loss, term by term.
double loss_of(const at::Tensor& hidden, const at::Tensor& weight,
               const at::Tensor& labels, double scale) {
  const auto h = hidden.accessor<double, 2>(), w = weight.accessor<double, 2>();
  double sum = 0;
  for (int64_t row = 0; row < h.size(0); ++row) {
    const int64_t label = labels[row].item<int64_t>();
    double exponentials = 0;
    for (int64_t c = 0; c < w.size(0); ++c) {
      double logit = 0;
      for (int64_t k = 0; k < w.size(1); ++k) logit += h[row][k] * w[c][k];
      exponentials += std::exp(logit);
      if (c == label) sum -= logit;
    }
    sum += std::log(exponentials);
  }
  return scale * sum;
}

// Central differences of f by each element of `values`, float64. Steps of 1e-4 leave an
// error near 1e-8 of cutting the series off, and one near 1e-11 of rounding.
template <class F>
at::Tensor differences(const at::Tensor& values, F&& f) {
  constexpr double kStep = 1e-4;
  at::Tensor slopes = at::empty_like(values);
  double* const value = values.mutable_data_ptr<double>();
  for (int64_t i = 0; i < values.numel(); ++i) {
    const double before = value[i];
    value[i] = before + kStep;
    const double above = f();
    value[i] = before - kStep;
    const double below = f();
    value[i] = before;
    slopes.mutable_data_ptr<double>()[i] = (above - below) / (2 * kStep);
  }
  return slopes;
}

Results results(const Problem& problem, const LossOptions& options, float scale = 1) {
  const LossRequest request = problem.request(scale);
  const Loss loss = linear_cross_entropy(request, true, options);
  return {
      loss.sum.item<double>(), loss.log_sum_exp,
      label_log_probabilities(problem.hidden, problem.weight, problem.labels, options),
      loss.hidden_gradient, head_gradient(request, loss.log_sum_exp, options)};
}

void expect_close(const Results& got, const Results& want, double tolerance) {
  EXPECT_NEAR(got.sum, want.sum, tolerance * want.sum);
  EXPECT_LE(relative_difference(got.log_sum_exp, want.log_sum_exp), tolerance);
  EXPECT_LE(relative_difference(got.log_probabilities, want.log_probabilities),
            tolerance);
  EXPECT_LE(relative_difference(got.hidden_gradient, want.hidden_gradient), tolerance);
  EXPECT_LE(relative_difference(got.head_gradient, want.head_gradient), tolerance);
}

void expect_formula(const Problem& problem, const LossOptions& options, double tolerance,
                    float scale = 1) {
  const Results got = results(problem, options, scale);
  EXPECT_EQ(got.log_sum_exp.scalar_type(), at::kFloat);
  EXPECT_EQ(got.log_probabilities.scalar_type(), at::kFloat);
  EXPECT_EQ(got.hidden_gradient.scalar_type(), problem.hidden.scalar_type());
  EXPECT_EQ(got.head_gradient.scalar_type(), problem.weight.scalar_type());
  expect_close(got, formula(problem, scale), tolerance);
}

TEST(LinearCrossEntropy, EqualsTheFormulaForEverySliceOfTheVocabulary) {
  const Problem problem(13, 97, 24);
  for (int64_t classes = 1; classes <= 98; ++classes) {
    SCOPED_TRACE(classes);
    expect_formula(problem, problem.slices_of(classes), 2e-6);
  }
  expect_formula(problem, {.chunked = false}, 2e-6);
}

TEST(LinearCrossEntropy, EqualsTheFormulaForALargerVocabulary) {
  const Problem problem(7, 1009, 12);
  for (const int64_t classes : {1, 2, 16, 17, 100, 504, 505, 1008, 1009}) {
    SCOPED_TRACE(classes);
    expect_formula(problem, problem.slices_of(classes), 2e-6);
  }
}

TEST(LinearCrossEntropy, LabelsMayLieInAnySlice) {
  for (const int64_t label : {0, 9, 10, 57, 89, 90, 96}) {
    SCOPED_TRACE(label);
    Problem problem(13, 97, 24);
    problem.labels.fill_(label);
    expect_formula(problem, problem.slices_of(10), 2e-6);
  }
}

TEST(LinearCrossEntropy, ABudgetBelowOneVocabularyRowIsOneRow) {
  expect_formula(Problem(13, 97, 24), {true, 1}, 2e-6);
}

TEST(LinearCrossEntropy, OneRowEqualsTheFormula) {
  for (const int64_t bytes : {4, 28, 1000}) {
    expect_formula(Problem(1, 97, 24), {true, bytes}, 2e-6);
    expect_formula(Problem(1, 2, 3), {true, bytes}, 2e-6);
  }
}

TEST(LinearCrossEntropy, ScalesTheGradientsAlone) {
  for (const float scale : {0.125f, 3.0f})
    expect_formula(Problem(13, 97, 24), {true, 400}, 2e-6, scale);
}

TEST(LinearCrossEntropy, GradientsEqualFiniteDifferences) {
  const Problem problem(5, 11, 6);
  const at::Tensor hidden = problem.hidden.to(at::kDouble);
  const at::Tensor weight = problem.weight.to(at::kDouble);
  for (const float scale : {1.0f, 0.125f}) {
    const auto loss = [&] { return loss_of(hidden, weight, problem.labels, scale); };
    const at::Tensor by_hidden = differences(hidden, loss);
    const at::Tensor by_weight = differences(weight, loss);
    for (const int64_t classes : {1, 4, 11}) {
      SCOPED_TRACE(classes);
      const Results got = results(problem, problem.slices_of(classes), scale);
      EXPECT_LE(relative_difference(got.hidden_gradient, by_hidden), 2e-6);
      EXPECT_LE(relative_difference(got.head_gradient, by_weight), 2e-6);
    }
  }
}

TEST(LinearCrossEntropy, BfloatAndMixedPrecisionStayCloseToTheFormula) {
  for (const auto weight : {at::kFloat, at::kBFloat16})
    for (const int64_t classes : {1, 10, 96, 97}) {
      SCOPED_TRACE(std::string(at::toString(weight)) + ", " + std::to_string(classes));
      const Problem problem(13, 97, 24, at::kBFloat16, weight);
      expect_formula(problem, problem.slices_of(classes), 0.02);
    }
}

TEST(LinearCrossEntropy, LargeLogitsDoNotOverflow) {
  Problem problem(13, 97, 24);
  problem.weight *= 100;
  // Rows whose label is likely have a gradient near 0; others make the largest.
  for (const int64_t classes : {1, 20, 97})
    expect_formula(problem, problem.slices_of(classes), 1e-5);
}

TEST(LinearCrossEntropy, SlicesChangeTheWholeResultByRoundingOnly) {
  Problem problem(29, 1009, 24);
  problem.hidden *= 0.25;  // logits of an ordinary size: about 1
  const Results whole = results(problem, {.chunked = false, .chunk_bytes = 1});
  for (const int64_t classes : {33, 100, 700}) {
    SCOPED_TRACE(classes);
    expect_close(results(problem, problem.slices_of(classes)), whole, 1e-6);
  }
}

TEST(LinearCrossEntropy, TheHiddenGradientIsMadeOnlyWhereAsked) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const Problem problem(13, 97, 24, dtype, dtype);
    const Loss both = linear_cross_entropy(problem.request(), true, {true, 500});
    const Loss sum = linear_cross_entropy(problem.request(), false, {true, 500});
    EXPECT_TRUE(both.hidden_gradient.defined());
    EXPECT_FALSE(sum.hidden_gradient.defined());
    EXPECT_TRUE(at::equal(sum.sum, both.sum));
    EXPECT_TRUE(at::equal(sum.log_sum_exp, both.log_sum_exp));
  }
}

TEST(LinearCrossEntropy, NoRowsGiveNoLossAndNoGradient) {
  for (const auto dtype : {at::kFloat, at::kBFloat16})
    for (const bool chunked : {true, false}) {
      const Problem problem(0, 97, 24, dtype);
      const Results got = results(problem, {.chunked = chunked});
      EXPECT_EQ(got.sum, 0);
      EXPECT_EQ(got.log_sum_exp.sizes(), at::IntArrayRef{0});
      EXPECT_EQ(got.log_probabilities.sizes(), at::IntArrayRef{0});
      EXPECT_EQ(got.hidden_gradient.sizes(), (at::IntArrayRef{0, 24}));
      EXPECT_EQ(got.hidden_gradient.scalar_type(), dtype);
      EXPECT_EQ(got.head_gradient.sizes(), (at::IntArrayRef{97, 24}));
      EXPECT_EQ(got.head_gradient.scalar_type(), at::kFloat);
      EXPECT_EQ(got.head_gradient.abs().max().item<float>(), 0);
    }
}

TEST(LinearCrossEntropy, WhatIsNotFiniteReachesTheLoss) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()})
    for (const int64_t place : {0, 50, 96})
      for (const int64_t classes : {1, 10, 97}) {
        Problem of_weight(13, 97, 24), of_hidden(13, 97, 24);
        of_weight.weight[place].fill_(bad);
        of_hidden.hidden[place % 13].fill_(bad);
        for (const Problem& problem : {of_weight, of_hidden}) {
          const LossOptions options = problem.slices_of(classes);
          const Loss loss = linear_cross_entropy(problem.request(), true, options);
          EXPECT_FALSE(std::isfinite(loss.sum.item<double>()))
              << place << ", " << classes;
        }
      }
}

TEST(LinearCrossEntropy, IsTheSameForAnyNumberOfThreads) {
  const int before = at::get_num_threads();
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const Problem problem(117, 1009, 24, dtype, dtype);
    std::vector<Results> got;
    for (const int threads : {1, 2}) {
      at::set_num_threads(threads);
      got.push_back(results(problem, problem.slices_of(700)));
    }
    at::set_num_threads(before);
    // The matrix products are a library's, which may cut them otherwise.
    expect_close(got[1], got[0], dtype == at::kFloat ? 1e-6 : 0.01);
  }
}

struct Types {
  at::ScalarType hidden, weight;
};

class Memory : public testing::TestWithParam<Types> {
 protected:
  // The peak of f() above what is held before it, its results included.
  template <class F>
  static int64_t extra(F&& f) {
    memory::device_ledger().reset_peaks();
    const int64_t before = memory::device_ledger().current();
    f();
    return memory::device_ledger().peak() - before;
  }
};

TEST_P(Memory, StaysNearTheBudgetWhileTheLogitsWouldNot) {
  memory::install();
  constexpr int64_t kRows = 64, kVocabulary = 32000, kWidth = 256, kBudget = kMiB;
  const Problem problem(kRows, kVocabulary, kWidth, GetParam().hidden, GetParam().weight);
  const LossRequest request = problem.request();
  const LossOptions options{.chunk_bytes = kBudget};
  // Far below [M, V] of either type, 4 or 8 MB, and a [V, D] fp32, 32 MB.
  constexpr int64_t kLimit = kBudget + 8 * kRows * kWidth * 4;
  EXPECT_LE(extra([&] { linear_cross_entropy(request, true, options); }), kLimit);
  EXPECT_LE(extra([&] { linear_cross_entropy(request, false, options); }), kLimit);
  EXPECT_LE(extra([&] {
              label_log_probabilities(problem.hidden, problem.weight, problem.labels,
                                      options);
            }),
            kLimit);
  const Loss loss = linear_cross_entropy(request, false, options);
  const int64_t gradient = problem.weight.numel() * problem.weight.element_size();
  EXPECT_LE(extra([&] { head_gradient(request, loss.log_sum_exp, options); }),
            gradient + kLimit);
  EXPECT_GE(extra([&] { linear_cross_entropy(request, true, {.chunked = false}); }),
            kRows * kVocabulary * problem.hidden.element_size());
}

// What the header promises beside the results: chunk_bytes and a few [M, D] fp32.
TEST_P(Memory, OfTheDefaultBudgetIsTheBudgetAndAFewRows) {
  memory::install();
  constexpr int64_t kRows = 256, kVocabulary = 32000, kWidth = 256;
  constexpr int64_t kLimit = 8 * kMiB + 4 * kRows * kWidth * 4;
  const Problem problem(kRows, kVocabulary, kWidth, GetParam().hidden, GetParam().weight);
  const LossRequest request = problem.request();
  const at::Tensor log_sum_exp = linear_cross_entropy(request, false, {}).log_sum_exp;
  const auto loss = [&](const LossOptions& options) {
    return extra([&] { linear_cross_entropy(request, true, options); }) -
           problem.hidden.numel() * problem.hidden.element_size();
  };
  const auto head = [&](const LossOptions& options) {
    return extra([&] { head_gradient(request, log_sum_exp, options); }) -
           problem.weight.numel() * problem.weight.element_size();
  };
  const auto labels = [&](const LossOptions& options) {
    return extra([&] {
      label_log_probabilities(problem.hidden, problem.weight, problem.labels, options);
    });
  };
  EXPECT_LE(loss({}), kLimit);
  EXPECT_LE(head({}), kLimit);
  EXPECT_LE(labels({}), kLimit);
  const LossOptions whole{.chunked = false};  // logits of 15.6 or 31.3 MiB
  EXPECT_GT(loss(whole), kLimit);
  EXPECT_GT(head(whole), kLimit);
  EXPECT_GT(labels(whole), kLimit);
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
