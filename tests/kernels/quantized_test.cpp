// Matrices in 4 and 8 bits against those of scripts/references/quantized.py.
#include "support/quantized.h"

#include <cmath>
#include <limits>

#include "kernels/support.h"
#include "lowmem/kernels/dynamic_map.h"
#include "lowmem/kernels/int8_rows.h"
#include "lowmem/kernels/nf4.h"

namespace lowmem::kernels {
namespace {

using nlohmann::json;
using test::fnv, test::Numbers, test::numbers_of, test::quantized, test::values_of;

constexpr DType kTypes[] = {DType::kF32, DType::kBF16};

// Every instruction set of this machine.
class QuantizedMatrix : public testing::TestWithParam<Isa> {
 protected:
  const test::WithIsa chosen_{GetParam()};
};

template <class T>
size_t size_of(const std::vector<T>& numbers, int64_t (*count_of)(int64_t)) {
  return static_cast<size_t>(count_of(static_cast<int64_t>(numbers.size())));
}
template <class T>
int64_t count_of(const std::vector<T>& numbers) {
  return static_cast<int64_t>(numbers.size());
}
template <class T>
ConstArray array_of(const std::vector<T>& numbers) {
  return {numbers.data(), std::is_same_v<T, Bf16> ? DType::kBF16 : DType::kF32};
}
// Compares bytes, so that -0 is not 0.
template <class T>
void expect_same(const std::vector<T>& got, const std::vector<T>& want,
                 const char* what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  for (size_t i = 0; i < got.size(); ++i)
    ASSERT_EQ(std::memcmp(&got[i], &want[i], sizeof got[i]), 0)
        << what << " " << i << ": " << +got[i] << ", not " << +want[i];
}
// Codes, or their hash where the file has that.
template <class T>
void expect_codes(const std::vector<T>& got, const json& want) {
  if (want.is_string())
    expect_same(got, numbers_of<T>(want.get<std::string>()), "code");
  else
    EXPECT_EQ(fnv(got), want.get<uint32_t>());
}
std::vector<Bf16> halved(const std::vector<float>& values) {
  std::vector<Bf16> halves;
  for (const float x : values) halves.push_back(round_to_nearest(x));
  return halves;
}
std::vector<float> widened(const std::vector<Bf16>& halves) {
  std::vector<float> values;
  for (const Bf16 x : halves) values.push_back(to_float(x));
  return values;
}

// A matrix in 4 bits with both forms of scales.
struct Nf4 {
  template <class T>
  explicit Nf4(const std::vector<T>& values)
      : count(count_of(values)),
        codes(size_of(values, nf4_bytes)),
        absmax_codes(size_of(values, nf4_blocks)),
        absmax(absmax_codes.size()),
        nested(size_of(absmax, nf4_nested)) {
    quantize_nf4(array_of(values), count, codes.data(), absmax.data());
    quantize_absmax(absmax.data(), count_of(absmax), absmax_codes.data(), nested.data(),
                    &offset);
  }

  Nf4View plain() const { return {.codes = codes.data(), .absmax = absmax.data()}; }
  Nf4View double_quantized() const {
    return {.codes = codes.data(),
            .absmax_codes = absmax_codes.data(),
            .nested_absmax = nested.data(),
            .offset = offset};
  }
  template <class T>
  std::vector<T> back(const Nf4View& view, int64_t first, int64_t size) const {
    std::vector<T> out(static_cast<size_t>(size));
    dequantize_nf4(view, first, size, {out.data(), array_of(out).dtype});
    return out;
  }
  template <class T>
  std::vector<T> back(const Nf4View& view) const {
    return back<T>(view, 0, count);
  }

  int64_t count;
  std::vector<uint8_t> codes, absmax_codes;
  std::vector<float> absmax, nested;
  float offset = 0;
};

TEST(Nf4Levels, AreThoseOfBitsandbytesInEveryBit) {
  expect_same({kNf4Levels.begin(), kNf4Levels.end()},
              numbers_of<float>(quantized()["levels"].get<std::string>()), "level");
}

TEST_P(QuantizedMatrix, Nf4IsThatOfBitsandbytesInEveryBit) {
  for (const json& want : quantized()["nf4"]) {
    SCOPED_TRACE(want["name"]);
    const std::vector<float> values = values_of(want);
    const Nf4 matrix(values);
    expect_codes(matrix.codes, want["codes"]);
    expect_same(matrix.absmax, numbers_of<float>(want["absmax"]), "scale");
    expect_codes(matrix.absmax_codes, want["absmax_codes"]);
    expect_same(matrix.nested, numbers_of<float>(want["nested_absmax"]), "nested scale");
    expect_same({matrix.offset}, numbers_of<float>(want["offset"]), "offset");
    EXPECT_EQ(fnv(matrix.back<float>(matrix.plain())), want["fp32"]);
    EXPECT_EQ(fnv(matrix.back<Bf16>(matrix.plain())), want["bf16"]);
    EXPECT_EQ(fnv(matrix.back<float>(matrix.double_quantized())), want["nested_fp32"]);
    EXPECT_EQ(fnv(matrix.back<Bf16>(matrix.double_quantized())), want["nested_bf16"]);
  }
}

TEST_P(QuantizedMatrix, ScaleHalfWayBetweenLevelsTakesTheCodeOfBitsandbytes) {
  for (const json& want : quantized()["halfway_absmax"]) {
    const auto absmax = numbers_of<float>(want["absmax"]);
    std::vector<uint8_t> codes(absmax.size());
    std::vector<float> nested(size_of(absmax, nf4_nested));
    float offset = 1;
    quantize_absmax(absmax.data(), count_of(absmax), codes.data(), nested.data(),
                    &offset);
    EXPECT_EQ(offset, 0);
    expect_codes(codes, want["absmax_codes"]);
    expect_same(nested, numbers_of<float>(want["nested_absmax"]), "nested scale");
  }
}

TEST_P(QuantizedMatrix, OffsetIsTorchsToTwoUnitsOfTheLastPlace) {
  for (const json& want : quantized()["nf4"]) {
    const float ours = numbers_of<float>(want["offset"])[0];
    const float torchs = numbers_of<float>(want["offset_torch"])[0];
    EXPECT_NEAR(ours, torchs, 2 * std::abs(std::nextafter(ours, 1e38f) - ours));
    EXPECT_EQ(want["moved"], 0) << want["name"];
  }
}

TEST_P(QuantizedMatrix, Nf4OfBf16IsThatOfTheSameNumbersInFp32) {
  for (const json& given : quantized()["nf4"]) {
    const std::vector<Bf16> halves = halved(values_of(given));
    const Nf4 matrix(halves), want(widened(halves));
    expect_same(matrix.codes, want.codes, "code");
    expect_same(matrix.absmax, want.absmax, "scale");
  }
}

TEST_P(QuantizedMatrix, AnySliceOfNf4IsThatOfTheWhole) {
  for (const char* name : {"normal", "large"})
    for (const json& given : quantized()["nf4"]) {
      if (given["name"] != name) continue;
      const Nf4 matrix(values_of(given));
      const Nf4View view = matrix.double_quantized();
      const auto whole = matrix.back<float>(view);
      for (const int64_t first : {0, 1, 2, 31, 63, 64, 65, 128, 172, 333, 1000})
        for (const int64_t size : {0, 1, 2, 15, 32, 63, 64, 65, 128, 129, 172, 1032}) {
          if (first + size > matrix.count) continue;
          SCOPED_TRACE(testing::Message() << first << " + " << size);
          const std::vector<float> want(whole.begin() + first,
                                        whole.begin() + first + size);
          for (const DType type : kTypes) {
            Numbers out(size, type);
            dequantize_nf4(view, first, size, out.array());
            EXPECT_TRUE(out.guards_are_whole());
            for (int64_t i = 0; i < size; ++i) {
              const float x = want[static_cast<size_t>(i)];
              ASSERT_EQ(out.at(i),
                        type == DType::kF32 ? x : to_float(round_to_nearest(x)))
                  << i;
            }
          }
        }
    }
}

TEST_P(QuantizedMatrix, PiecesAtBlocksGiveTheSameCodesAsTheWhole) {
  std::vector<float> values;
  for (int64_t i = 0; i < 1003; ++i) values.push_back(test::draw(i, 3));
  const Nf4 whole(values);
  for (const int64_t piece : {64, 128, 192, 960}) {
    Numbers codes(nf4_bytes(1003), DType::kU8), absmax(nf4_blocks(1003), DType::kF32);
    test::Cut{piece, true}(1003, [&](int64_t begin, int64_t end) {
      quantize_nf4({values.data() + begin, DType::kF32}, end - begin,
                   codes.as<uint8_t>() + begin / 2, absmax.as<float>() + begin / 64);
    });
    EXPECT_TRUE(codes.guards_are_whole() && absmax.guards_are_whole());
    for (int64_t i = 0; i < codes.count(); ++i)
      ASSERT_EQ(codes.at(i), whole.codes[static_cast<size_t>(i)]) << i;
    for (int64_t i = 0; i < absmax.count(); ++i)
      ASSERT_EQ(absmax.at(i), whole.absmax[static_cast<size_t>(i)]) << i;
  }
}

// The levels are their own nearest, and each block has 1 or -1 among its fractions.
TEST_P(QuantizedMatrix, QuantizingWhatWasDequantizedChangesNothing) {
  for (const json& given : quantized()["nf4"]) {
    if (given["name"] == "subnormal") continue;  // with too few digits for 16 levels
    SCOPED_TRACE(given["name"]);
    const Nf4 matrix(values_of(given));
    const auto values = matrix.back<float>(matrix.plain());
    const Nf4 again(values);
    expect_same(again.codes, matrix.codes, "code");
    expect_same(again.absmax, matrix.absmax, "scale");
    expect_same(again.back<float>(again.plain()), values, "value");
  }
}

struct Int8Row {
  template <class T>
  explicit Int8Row(const T* values, int64_t count) : codes(static_cast<size_t>(count)) {
    const DType dtype = std::is_same_v<T, Bf16> ? DType::kBF16 : DType::kF32;
    finite = quantize_int8({values, dtype}, count, codes.data(), &scale);
  }
  void add_back(std::vector<float>& fp32, std::vector<Bf16>& bf16) const {
    fp32.resize(fp32.size() + codes.size());
    bf16.resize(bf16.size() + codes.size());
    const int64_t count = count_of(codes);
    dequantize_int8(codes.data(), scale, count,
                    {fp32.data() + fp32.size() - codes.size(), DType::kF32});
    dequantize_int8(codes.data(), scale, count,
                    {bf16.data() + bf16.size() - codes.size(), DType::kBF16});
  }

  std::vector<int8_t> codes;
  float scale = -1;
  bool finite;
};

TEST_P(QuantizedMatrix, Int8IsThatOfBitsandbytesInEveryBit) {
  for (const json& want : quantized()["int8"]) {
    SCOPED_TRACE(want["name"]);
    const std::vector<float> values = values_of(want);
    const int64_t rows = want["shape"][0], columns = want["shape"][1];
    std::vector<int8_t> codes;
    std::vector<float> scales, fp32;
    std::vector<Bf16> bf16;
    for (int64_t row = 0; row < rows; ++row) {
      const Int8Row quantized_row(values.data() + row * columns, columns);
      EXPECT_TRUE(quantized_row.finite);
      codes.insert(codes.end(), quantized_row.codes.begin(), quantized_row.codes.end());
      scales.push_back(quantized_row.scale);
      quantized_row.add_back(fp32, bf16);
    }
    expect_codes(codes, want["codes"]);
    expect_same(scales, numbers_of<float>(want["scales"]), "scale");
    EXPECT_EQ(fnv(fp32), want["fp32"]);
    EXPECT_EQ(fnv(bf16), want["bf16"]);
  }
}

TEST_P(QuantizedMatrix, Int8OfBf16IsThatOfTheSameNumbersInFp32) {
  for (const json& given : quantized()["int8"]) {
    const std::vector<Bf16> halves = halved(values_of(given));
    const std::vector<float> values = widened(halves);
    const Int8Row row(halves.data(), count_of(halves)),
        want(values.data(), count_of(values));
    EXPECT_EQ(row.finite, want.finite);
    if (!want.finite) continue;  // bf16 rounds 65504 up
    expect_same(row.codes, want.codes, "code");
    EXPECT_EQ(row.scale, want.scale);
  }
}

TEST_P(QuantizedMatrix, Int8SaysWhereFp16CannotHoldAValue) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const int64_t count : test::lengths())
    for (const int64_t place : {int64_t{0}, count / 2, count - 1}) {
      std::vector<float> values(static_cast<size_t>(count), 0.5f);
      const auto finite_with = [&](float x) {
        values[static_cast<size_t>(place)] = x;
        return Int8Row(values.data(), count).finite;
      };
      for (const float good : {0.0f, -65504.0f, 65519.996f, 1e-45f})
        EXPECT_TRUE(finite_with(good)) << good;
      for (const float bad :
           {65520.0f, -65520.0f, 1e30f, kInfinity, -kInfinity, std::nanf("")})
        EXPECT_FALSE(finite_with(bad)) << bad;
    }
}

TEST_P(QuantizedMatrix, Int8WritesNothingBesideItsRow) {
  for (const int64_t count : test::lengths()) {
    const Numbers values(count, DType::kF32, 1);
    Numbers codes(count, DType::kU8);
    float scale = 0;
    EXPECT_TRUE(quantize_int8(values.read_only(), count, codes.as<int8_t>(), &scale));
    EXPECT_TRUE(codes.guards_are_whole());
    for (const DType type : kTypes) {
      Numbers out(count, type);
      dequantize_int8(codes.as<int8_t>(), scale, count, out.array());
      EXPECT_TRUE(out.guards_are_whole());
      const float step = scale / 127;
      for (int64_t i = 0; i < count; ++i)
        ASSERT_NEAR(out.at(i), values.at(i), 0.51f * step + 0.005f) << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Isa, QuantizedMatrix, testing::ValuesIn(test::isas()),
                         [](const auto& given) {
                           return std::string(isa_name(given.param));
                         });

}  // namespace
}  // namespace lowmem::kernels
