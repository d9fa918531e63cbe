// Every kernel gives the same bits on every instruction set and for any split of its
// range.
#include <limits>

#include "kernels/support.h"
#include "lowmem/kernels/adafactor.h"
#include "lowmem/kernels/cross_entropy.h"
#include "lowmem/kernels/int8_rows.h"
#include "lowmem/kernels/nf4.h"
#include "lowmem/kernels/norm.h"
#include "lowmem/kernels/rms_norm.h"
#include "lowmem/kernels/rotary.h"
#include "lowmem/kernels/swiglu.h"
#include "support/optimizer_args.h"

namespace lowmem::kernels {
namespace {

using test::Cut, test::expect_same_bits, test::kWhole, test::lengths, test::Numbers;

constexpr DType kTypes[] = {DType::kF32, DType::kBF16};
const std::vector<Cut> kAnyOrder{{kWhole}, {1},        {7},         {16},
                                 {100},    {13, true}, {333, true}, {512, true}};
// At the borders of blocks of codes.
const std::vector<Cut> kAnyBlocks{{kWhole}, {256}, {512, true}, {768}, {1280, true}};
// For what adds up over rows.
const std::vector<Cut> kInOrder{{kWhole}, {1}, {2}, {3}};
const std::vector<Cut> kRowsInAnyOrder{{kWhole}, {1}, {2, true}, {3, true}};
constexpr int64_t kRows = 5;

// A parameter of each type and rounding.
struct Parameter {
  Numbers values, compensation;
  ParamView weights;

  Parameter(int64_t count, DType dtype, Rounding rounding, uint64_t seed = 1)
      : values(count, dtype, seed), compensation(count, DType::kBF16, 2, -1e-3f, 1e-3f) {
    weights = test::weights_of(values, rounding,
                               {.seed = 0x123456789abcdef0, .step = 5, .parameter = 7});
    weights.compensation = compensation.as<Bf16>();
    weights.report = true;
  }
  Parameter(const Parameter&) = delete;
  Parameter& operator=(const Parameter&) = delete;

  std::string bytes() const { return values.bytes() + compensation.bytes(); }
};

class Update : public testing::TestWithParam<std::tuple<DType, Rounding, DType>> {
 protected:
  // `rule(parameter, gradient, state, cut)` updates `count` elements and reports.
  using Rule = std::function<RoundingReport(const ParamView&, const ConstArray&,
                                            std::vector<Numbers>&, const Cut&)>;
  void expect_same(int64_t count, DType state, const Rule& rule) const {
    SCOPED_TRACE(count);
    const auto [dtype, rounding, gradient_type] = GetParam();
    const Numbers gradient(count, gradient_type, 3);
    expect_same_bits(kAnyOrder, [&](const Cut& cut) {
      Parameter parameter(count, dtype, rounding);
      std::vector<Numbers> states{{count, state, 4, 0, 1}, {count, state, 5, 0, 1}};
      const RoundingReport report =
          rule(parameter.weights, gradient.read_only(), states, cut);
      EXPECT_TRUE(parameter.values.guards_are_whole());
      EXPECT_EQ(report.updates > 0, dtype == DType::kBF16);
      return parameter.bytes() + states[0].bytes() + states[1].bytes() +
             test::bytes_of(report);
    });
  }
};

TEST_P(Update, SgdGivesTheSameBits) {
  for (const int64_t count : lengths())
    for (const bool momentum : {false, true})
      expect_same(count, DType::kF32,
                  [&](const ParamView& weights, const ConstArray& gradient,
                      std::vector<Numbers>& states, const Cut& cut) {
                    const SgdArgs args = test::sgd_args(
                        weights, gradient, momentum ? states[0].as<float>() : nullptr);
                    RoundingReport report;
                    cut(count, [&](int64_t begin, int64_t end) {
                      report += sgd(args, begin, end);
                    });
                    return report;
                  });
}

TEST_P(Update, AdamGivesTheSameBits) {
  for (const int64_t count : lengths())
    for (const DType state : kTypes)
      expect_same(count, state,
                  [&](const ParamView& weights, const ConstArray& gradient,
                      std::vector<Numbers>& states, const Cut& cut) {
                    const AdamArgs args = test::adam_args(
                        weights, gradient, states[0].array(), states[1].array());
                    RoundingReport report;
                    cut(count, [&](int64_t begin, int64_t end) {
                      report += adam(args, begin, end);
                    });
                    return report;
                  });
}

TEST_P(Update, AdamWithCodesGivesTheSameBits) {
  const auto [dtype, rounding, gradient_type] = GetParam();
  for (const int64_t count : lengths()) {
    SCOPED_TRACE(count);
    const Numbers gradient(count, gradient_type, 3);
    expect_same_bits(kAnyBlocks, [&](const Cut& cut) {
      Parameter parameter(count, dtype, rounding);
      test::Averages<Numbers> averages(count, DType::kU8);
      const AdamArgs args = averages.args(parameter.weights, gradient.read_only());
      RoundingReport report;
      cut(count, [&](int64_t begin, int64_t end) { report += adam(args, begin, end); });
      EXPECT_TRUE(parameter.values.guards_are_whole());
      return parameter.bytes() + averages.bytes() + test::bytes_of(report);
    });
  }
}

TEST_P(Update, AdafactorGivesTheSameBits) {
  const auto [dtype, rounding, gradient_type] = GetParam();
  const Numbers row_root(kRows, DType::kF32, 6, 0.5f, 2.0f);
  for (const int64_t columns : lengths()) {
    SCOPED_TRACE(columns);
    const Numbers gradient(kRows * columns, gradient_type, 3);
    const Numbers column_root(columns, DType::kF32, 7, 0.5f, 2.0f);
    expect_same_bits(kInOrder, [&](const Cut& cut) {
      Parameter parameter(kRows * columns, dtype, rounding);
      const AdafactorArgs args{
          .weights = parameter.weights,
          .gradient = gradient.read_only(),
          .rows = kRows,
          .columns = columns,
          .scale = 0.7f,
          .eps = 0,
          .row_root = static_cast<const float*>(row_root.read_only().data),
          .column_root = static_cast<const float*>(column_root.read_only().data)};
      Numbers column_sums(columns, DType::kF32);
      std::vector<double> sums(3 * kRows);
      RoundingReport report;
      cut(kRows, [&](int64_t begin, int64_t end) {
        adafactor_statistics(args, begin, end, sums.data(), sums.data() + kRows,
                             column_sums.as<float>());
        adafactor_update_norm(args, begin, end, sums.data() + 2 * kRows);
        report += adafactor_write(args, 0.01f, begin, end);
      });
      EXPECT_TRUE(parameter.values.guards_are_whole());
      return parameter.bytes() + column_sums.bytes() + test::bytes_of(report) +
             std::string(reinterpret_cast<const char*>(sums.data()),
                         sums.size() * sizeof(double));
    });
  }
}

std::string name_of(const testing::TestParamInfo<Update::ParamType>& given) {
  const auto [dtype, rounding, gradient] = given.param;
  const char* modes[] = {"Nearest", "Stochastic", "Kahan"};
  return std::string(dtype == DType::kF32 ? "Fp32" : "Bf16") +
         modes[static_cast<size_t>(rounding)] + "From" +
         (gradient == DType::kF32 ? "Fp32" : "Bf16");
}

INSTANTIATE_TEST_SUITE_P(Isa, Update,
                         testing::Combine(testing::ValuesIn(kTypes),
                                          testing::Values(Rounding::kNearest,
                                                          Rounding::kStochastic,
                                                          Rounding::kKahan),
                                          testing::ValuesIn(kTypes)),
                         name_of);

class Rows : public testing::TestWithParam<DType> {};

TEST_P(Rows, SquaredNormGivesTheSameBits) {
  for (const int64_t count : lengths()) {
    const Numbers numbers(count, GetParam(), 1);
    for (const int64_t begin : {int64_t{0}, count / 3})
      expect_same_bits({{kWhole}}, [&](const Cut&) {
        const double norm = squared_norm(numbers.read_only(), begin, count);
        return std::string(reinterpret_cast<const char*>(&norm), sizeof norm);
      });
  }
}

TEST_P(Rows, RmsNormGivesTheSameBits) {
  for (const int64_t columns : lengths())
    for (const DType out : kTypes) {
      const Numbers x(kRows * columns, GetParam(), 1), weight(columns, out, 2);
      const RmsNormArgs args{x.read_only(), weight.read_only(), columns, 1e-5f};
      expect_same_bits(kRowsInAnyOrder, [&](const Cut& cut) {
        Numbers y(kRows * columns, out);
        cut(kRows,
            [&](int64_t begin, int64_t end) { rms_norm(args, y.array(), begin, end); });
        EXPECT_TRUE(y.guards_are_whole());
        return y.bytes();
      });
      const Numbers dy(kRows * columns, out, 3);
      expect_same_bits(kInOrder, [&](const Cut& cut) {
        Numbers dx(kRows * columns, GetParam()), dweight(columns, DType::kF32);
        cut(kRows, [&](int64_t begin, int64_t end) {
          rms_norm_backward(args, dy.read_only(), dx.array(), dweight.as<float>(), begin,
                            end);
        });
        EXPECT_TRUE(dx.guards_are_whole() && dweight.guards_are_whole());
        return dx.bytes() + dweight.bytes();
      });
    }
}

TEST_P(Rows, RotaryGivesTheSameBitsInPlaceToo) {
  constexpr int64_t kHeads = 3;
  for (const int64_t half : lengths())
    for (const bool inverse : {false, true}) {
      const int64_t count = kRows * kHeads * 2 * half;
      const Numbers cos(kRows * half, DType::kF32, 2), sin(kRows * half, DType::kF32, 3);
      for (const bool in_place : {false, true})
        expect_same_bits(kRowsInAnyOrder, [&](const Cut& cut) {
          Numbers x(count, GetParam(), 1), y(count, GetParam());
          Numbers& out = in_place ? x : y;
          const RotaryArgs args{x.read_only(),
                                static_cast<const float*>(cos.read_only().data),
                                static_cast<const float*>(sin.read_only().data),
                                kHeads,
                                2 * half,
                                inverse};
          cut(kRows,
              [&](int64_t begin, int64_t end) { rotary(args, out.array(), begin, end); });
          EXPECT_TRUE(out.guards_are_whole());
          return out.bytes();
        });
    }
}

TEST_P(Rows, SwigluGivesTheSameBitsForAnyColumns) {
  for (const int64_t columns : lengths())
    for (const int64_t first : {0, 3}) {
      const int64_t stride = columns + first + 2;
      const auto run = [&](bool backward, const Cut& cut) {
        Numbers gate(kRows * stride, GetParam(), 1, -8, 8),
            up(kRows * stride, GetParam(), 2);
        Numbers y(kRows * columns, GetParam(), 3);
        const SwigluArgs args{gate.array(), up.array(), stride, first, columns};
        cut(kRows, [&](int64_t begin, int64_t end) {
          if (backward)
            swiglu_backward(args, y.array(), begin, end);
          else
            swiglu(args, y.array(), columns, begin, end);
        });
        EXPECT_TRUE(y.guards_are_whole());
        return y.bytes() + gate.bytes() + up.bytes();
      };
      for (const bool backward : {false, true})
        expect_same_bits(kRowsInAnyOrder,
                         [&](const Cut& cut) { return run(backward, cut); });
    }
}

TEST_P(Rows, Nf4GivesTheSameBitsBothWays) {
  for (const int64_t count : lengths()) {
    const Numbers values(count, GetParam(), 1);
    const int64_t blocks = nf4_blocks(count);
    expect_same_bits(kAnyOrder, [&](const Cut& cut) {
      Numbers codes(nf4_bytes(count), DType::kU8), absmax(blocks, DType::kF32);
      Numbers nested_codes(blocks, DType::kU8);
      Numbers nested(nf4_nested(blocks), DType::kF32), y(count, GetParam());
      quantize_nf4(values.read_only(), count, codes.as<uint8_t>(), absmax.as<float>());
      Nf4View matrix{.codes = codes.as<uint8_t>(),
                     .absmax_codes = nested_codes.as<uint8_t>(),
                     .nested_absmax = nested.as<float>()};
      quantize_absmax(absmax.as<float>(), blocks, nested_codes.as<uint8_t>(),
                      nested.as<float>(), &matrix.offset);
      cut(count, [&](int64_t begin, int64_t end) {
        Array part = y.array();
        part.data = static_cast<char*>(part.data) + begin * dtype_size(part.dtype);
        dequantize_nf4(matrix, begin, end - begin, part);
      });
      EXPECT_TRUE(codes.guards_are_whole() && absmax.guards_are_whole() &&
                  nested_codes.guards_are_whole() && nested.guards_are_whole() &&
                  y.guards_are_whole());
      return codes.bytes() + absmax.bytes() + nested_codes.bytes() + nested.bytes() +
             y.bytes();
    });
  }
}

TEST_P(Rows, Int8GivesTheSameBitsBothWays) {
  for (const int64_t count : lengths()) {
    const Numbers values(count, GetParam(), 1);
    expect_same_bits({{kWhole}}, [&](const Cut&) {
      Numbers codes(count, DType::kU8), y(count, GetParam());
      float scale = 0;
      EXPECT_TRUE(quantize_int8(values.read_only(), count, codes.as<int8_t>(), &scale));
      dequantize_int8(codes.as<int8_t>(), scale, count, y.array());
      EXPECT_TRUE(codes.guards_are_whole() && y.guards_are_whole());
      return codes.bytes() + y.bytes();
    });
  }
}

TEST_P(Rows, CrossEntropyGivesTheSameBits) {
  constexpr float kLowest = -std::numeric_limits<float>::infinity();
  for (const int64_t columns : lengths()) {
    const std::vector<int64_t> labels{columns - 1, 2 * columns, 0, 3, columns / 2};
    for (const bool exponentials : {false, true})
      expect_same_bits(kRowsInAnyOrder, [&](const Cut& cut) {
        Numbers first(kRows * columns, GetParam(), 1, -9, 9);
        Numbers second(kRows * columns, GetParam(), 2, -9, 12);
        Numbers state(4 * kRows, DType::kF32);
        for (int64_t row = 0; row < kRows; ++row) state.set(row, kLowest);
        float* from = state.as<float>();
        const SoftmaxRows rows{from, from + kRows, from + 2 * kRows, from + 3 * kRows};
        cut(kRows, [&](int64_t begin, int64_t end) {
          softmax_slice({first.array(), columns, 0, labels.data()}, rows, exponentials,
                        begin, end);
          softmax_slice({second.array(), columns, columns, labels.data()}, rows,
                        exponentials, begin, end);
        });
        EXPECT_TRUE(first.guards_are_whole() && state.guards_are_whole());
        return first.bytes() + second.bytes() + state.bytes();
      });
    expect_same_bits(kRowsInAnyOrder, [&](const Cut& cut) {
      Numbers logits(kRows * columns, GetParam(), 1, -9, 9);
      const std::vector<float> log_sum_exp{9.5f, 10, 11, 12, 13};
      cut(kRows, [&](int64_t begin, int64_t end) {
        cross_entropy_gradient({logits.array(), columns, 0, labels.data()},
                               log_sum_exp.data(), 0.3f, begin, end);
      });
      EXPECT_TRUE(logits.guards_are_whole());
      return logits.bytes();
    });
  }
}

INSTANTIATE_TEST_SUITE_P(Isa, Rows, testing::ValuesIn(kTypes), [](const auto& given) {
  return given.param == DType::kF32 ? "Fp32" : "Bf16";
});

}  // namespace
}  // namespace lowmem::kernels
