// What a linear layer multiplies by, in each of its forms, against the dense matrix.
#include "lowmem/ops/linear_weight.h"

#include "lowmem/ops/linear.h"
#include "lowmem/ops/swiglu_linear.h"
#include "ops/gradients.h"

namespace lowmem::ops {
namespace {

using test::expect_close, test::normal, test::Tensors;

// The matrix of a form, and the numbers that it stands for.
StoredMatrix in_form(Stored form, const at::Tensor& dense) {
  const int64_t out = dense.size(0), in = dense.size(1), count = out * in;
  const auto blocks = (count + 63) / 64;
  if (form == Stored::kInt8) {
    StoredMatrix matrix(form, out, in,
                        std::vector{at::empty({out, in}, at::kChar), at::empty({out})});
    quantize_into(matrix, dense.flatten(), 0);
    return matrix;
  }
  StoredMatrix single(
      Stored::kNf4, out, in,
      std::vector{at::empty({(count + 1) / 2}, at::kByte), at::empty({blocks})});
  quantize_into(single, dense.flatten(), 0);
  if (form == Stored::kNf4) return single;
  StoredMatrix nested(form, out, in,
                      std::vector{single.numbers, at::empty({blocks}, at::kByte),
                                  at::empty({(blocks + 255) / 256}), at::empty({1})});
  quantize_scales(single.scales, nested);
  return nested;
}

class QuantizedMatrix : public testing::TestWithParam<Stored> {};

// Sizes whose slices and rows end within a block and within a byte, and a matrix of
// several slices.
TEST_P(QuantizedMatrix, ProductsAreThoseOfTheNumbersItStandsFor) {
  struct Sizes {
    int64_t tokens, out, in;
  };
  for (const auto& [tokens, out, in] :
       {Sizes{5, 7, 43}, {3, 300, 172}, {9, 130, 129}, {17, 1100, 2048}, {2, 2048, 700}})
    for (const auto type : {at::kFloat, at::kBFloat16}) {
      const StoredMatrix matrix = in_form(GetParam(), normal({out, in}, 1) * 0.1);
      const at::Tensor dense = matrix.rows(0, out, at::kFloat);
      EXPECT_LT(test::relative_difference(dense, normal({out, in}, 1) * 0.1), 0.15);
      EXPECT_TRUE(
          at::equal(matrix.rows(1, out - 1, type), dense.narrow(0, 1, out - 1).to(type)));
      const at::Tensor x = normal({tokens, in}, 2).to(type),
                       dy = normal({tokens, out}, 3).to(type);
      const double tolerance = type == at::kFloat ? 3e-6 : 0.01;  // of 2,048 numbers
      const at::Tensor used = dense.to(type).to(at::kDouble);
      expect_close(product_by_rows(x, matrix), x.to(at::kDouble).mm(used.t()), tolerance);
      const at::Tensor dx = dy.to(at::kDouble).mm(used);
      expect_close(product_by_columns(dy, matrix, 0, in), dx, tolerance);
      expect_close(product_by_columns(dy, matrix, 5, in - 8), dx.narrow(1, 5, in - 8),
                   tolerance);
    }
}

INSTANTIATE_TEST_SUITE_P(Forms, QuantizedMatrix,
                         testing::Values(Stored::kNf4, Stored::kNf4Double,
                                         Stored::kInt8));

TEST(QuantizedMatrix, Int8RefusesWhatIsBeyondFp16) {
  StoredMatrix matrix(Stored::kInt8, 2, 3,
                      std::vector{at::empty({2, 3}, at::kChar), at::empty({2})});
  at::Tensor values = normal({6}, 1);
  values[4] = 70000;
  EXPECT_THROW(quantize_into(matrix, values, 0), std::domain_error);
}

// y = x W.T + (g - 1) x' W.T + g s x' A.T B.T + bias, in double, where x' is what dropout
// leaves of x and g = m / |W + s B A|, or 1 without a magnitude; the norm is a constant.
// in: x, A, B, then magnitude and bias where they are.
struct Adapted {
  Stored form;
  bool magnitude, bias, dropout;
};

class AdaptedLinear : public testing::TestWithParam<Adapted> {
 protected:
  static constexpr int64_t kTokens = 11, kIn = 96, kOut = 70, kRank = 3;
  static constexpr double kScale = 1.7;

  AdaptedLinear() {
    const at::Tensor numbers = normal({kOut, kIn}, 1) * 0.3;
    const Stored form = GetParam().form;
    matrix_ = form == Stored::kPlain ? StoredMatrix(numbers) : in_form(form, numbers);
    dense_ = matrix_.rows(0, kOut, at::kFloat).to(at::kDouble);
    in_ = {normal({kTokens, kIn}, 2), normal({kRank, kIn}, 3), normal({kOut, kRank}, 4)};
    if (GetParam().magnitude) in_.push_back(normal({kOut}, 5));
    if (GetParam().bias) in_.push_back(normal({kOut}, 6));
    norm_ = (dense_ + kScale * in_[2].to(at::kDouble).mm(in_[1].to(at::kDouble)))
                .norm(2, {1});
    if (GetParam().dropout)
      dropout_ = {0.25, {7, 3, 5}, at::arange(20, 20 + kTokens, at::kLong)};
  }

  LinearWeight weight(const Tensors& in) const {
    LinearWeight weight{matrix_, {}, {in[1], in[2], kScale}};
    LowRank& pair = weight.low_rank;
    pair.dropout = dropout_;
    if (GetParam().magnitude) {
      pair.magnitude = in[3];
      pair.norm = norms_of_sum(matrix_, pair);
    }
    if (GetParam().bias) weight.bias = in.back();
    return weight;
  }

  // What dropout makes of ones.
  at::Tensor mask() const {
    if (!dropout_.defined()) return at::ones({kTokens, kIn}, at::kDouble);
    const at::Tensor unit = at::eye(kIn);
    return narrowed(at::ones({kTokens, kIn}), unit, dropout_, 0, kIn).to(at::kDouble);
  }

  at::Tensor formula(const Tensors& in) const {
    const Tensors exact = test::cast(in, at::kDouble);
    const at::Tensor left = exact[0] * mask();
    at::Tensor y = exact[0].mm(dense_.t());
    const at::Tensor low = kScale * left.mm(exact[1].t()).mm(exact[2].t());
    if (GetParam().magnitude) {
      const at::Tensor gain = exact[3] / norm_;
      y = y + (gain - 1) * left.mm(dense_.t()) + gain * low;
    } else {
      y = y + low;
    }
    return GetParam().bias ? y + exact.back() : y;
  }

  StoredMatrix matrix_;
  at::Tensor dense_, norm_;
  Tensors in_;
  Dropout dropout_;
};

TEST_P(AdaptedLinear, ValueAndGradientsAreTheFormulas) {
  const auto operation = [&](const Tensors& in) {
    return linear(in[0], weight(in), at::kFloat);
  };
  const auto exact = [&](const Tensors& in) { return formula(in); };
  expect_close(operation(in_), formula(in_), 1e-6);
  const Tensors got = test::gradients(operation, in_), want = test::gradients(exact, in_);
  for (size_t i = 0; i < in_.size(); ++i) {
    SCOPED_TRACE(i);
    expect_close(got[i], want[i], 2e-6);
  }
}

// Behind swiglu the input comes a slice of columns at a time.
TEST_P(AdaptedLinear, TheSameInSlicesOfColumns) {
  const auto gate = [&](const at::Tensor& x) { return x / (1 + (-x).exp()) * 1.0; };
  const auto operation = [&](const Tensors& in) {
    return swiglu_linear(in[0].clone(), at::ones_like(in[0]), weight(in), Output::kValue);
  };
  const auto exact = [&](const Tensors& in) {
    Tensors inner = test::cast(in, at::kDouble);
    inner[0] = gate(inner[0]);
    return formula(inner);
  };
  const Tensors got = test::gradients(operation, in_), want = test::gradients(exact, in_);
  for (size_t i = 0; i < in_.size(); ++i) {
    SCOPED_TRACE(i);
    expect_close(got[i], want[i], 2e-6);
  }
}

INSTANTIATE_TEST_SUITE_P(Forms, AdaptedLinear,
                         testing::Values(Adapted{Stored::kPlain, false, false, false},
                                         Adapted{Stored::kPlain, false, true, true},
                                         Adapted{Stored::kPlain, true, true, false},
                                         Adapted{Stored::kPlain, true, true, true},
                                         Adapted{Stored::kInt8, true, false, true},
                                         Adapted{Stored::kNf4, false, true, true},
                                         Adapted{Stored::kNf4Double, true, true, false},
                                         Adapted{Stored::kInt8, true, false, false},
                                         Adapted{Stored::kInt8, false, false, true}));

// Rows enough that a magnitude's gradient takes them in several pieces.
TEST(Magnitude, ItsGradientIsTheFormulasOfManyRows) {
  constexpr int64_t kTokens = 1100, kIn = 48, kOut = 600, kRank = 2;
  constexpr double kScale = 0.7;
  const at::Tensor numbers = normal({kOut, kIn}, 1) * 0.3;
  for (const Stored form : {Stored::kPlain, Stored::kNf4, Stored::kInt8})
    for (const auto type : {at::kFloat, at::kBFloat16}) {
      const StoredMatrix matrix = form == Stored::kPlain ? StoredMatrix(numbers.to(type))
                                                         : in_form(form, numbers);
      const at::Tensor x = normal({kTokens, kIn}, 2).to(type);
      const Tensors in = {normal({kRank, kIn}, 3), normal({kOut, kRank}, 4),
                          normal({kOut}, 5)};
      const at::Tensor norm = norms_of_sum(matrix, {in[0], in[1], kScale});
      const auto operation = [&](const Tensors& own) {
        return linear(x, {matrix, {}, {own[0], own[1], kScale, own[2], norm}}, type);
      };
      const at::Tensor dense = matrix.rows(0, kOut, type).to(at::kDouble);
      const auto exact = [&](const Tensors& own) {
        const at::Tensor sum = dense + kScale * own[1].mm(own[0]);
        return x.to(at::kDouble).mm(sum.t()) * (own[2] / norm);
      };
      const Tensors got = test::gradients(operation, in),
                    want = test::gradients(exact, test::cast(in, at::kDouble));
      for (size_t i = 0; i < in.size(); ++i)
        expect_close(got[i], want[i], type == at::kFloat ? 2e-6 : 0.01);
    }
}

TEST(Magnitude, NormsAreKeptUntilAMatrixChanges) {
  const StoredMatrix matrix(normal({300, 40}, 1));
  const LowRank pair{normal({2, 40}, 2), normal({300, 2}, 3), 0.5};
  KeptNorms kept;
  const at::Tensor first = kept.of_sum(matrix, pair);
  EXPECT_TRUE(at::equal(first, norms_of_sum(matrix, pair)));
  // What one answer's holder does to it is not seen by the next.
  at::Tensor again = kept.of_sum(matrix, pair);
  again.zero_();
  EXPECT_TRUE(at::equal(kept.of_sum(matrix, pair), first));
  for (const at::Tensor& changed : {pair.a, pair.b}) {
    at::Tensor own = changed;
    own.mul_(2);
    const at::Tensor anew = kept.of_sum(matrix, pair);
    EXPECT_TRUE(at::equal(anew, norms_of_sum(matrix, pair)));
    EXPECT_FALSE(at::equal(anew, first));
  }
  const at::Tensor sum = matrix.numbers + 0.5 * pair.b.mm(pair.a);
  expect_close(kept.of_sum(matrix, pair), sum.to(at::kDouble).norm(2, {1}), 1e-6);
}

TEST(Dropout, IsAFunctionOfTheTokenAndTheColumn) {
  const Dropout all{0.3, {1, 2, 3}, at::arange(40, at::kLong)};
  const at::Tensor ones = at::ones({40, 100}), unit = at::eye(100);
  const at::Tensor mask = narrowed(ones, unit, all, 0, 100);
  // Any rows, any columns: the same elements.
  const Dropout some{0.3, {1, 2, 3}, at::tensor({37, 4, 11}, at::kLong)};
  EXPECT_TRUE(at::equal(narrowed(ones.narrow(0, 0, 3), unit, some, 0, 100),
                        mask.index_select(0, some.tokens)));
  const at::Tensor part = narrowed(ones.narrow(1, 0, 30), at::eye(30), all, 13, 100);
  EXPECT_TRUE(at::equal(part, mask.narrow(1, 13, 30)));
  // Another step, module or seed: others.
  for (const kernels::Noise noise :
       {kernels::Noise{1, 3, 3}, kernels::Noise{1, 2, 4}, kernels::Noise{2, 2, 3}})
    EXPECT_FALSE(at::equal(narrowed(ones, unit, {0.3, noise, all.tokens}, 0, 100), mask));
  // In the mean nothing changes.
  EXPECT_NEAR(mask.mean().item<double>(), 1, 0.03);
  EXPECT_NEAR(mask.eq(0).to(at::kDouble).mean().item<double>(), 0.3, 0.02);
  EXPECT_NEAR(mask.max().item<double>(), 1 / 0.7, 1e-5);
}

}  // namespace
}  // namespace lowmem::ops
