#include "lowmem/io/convert.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <vector>

#include "lowmem/core/random.h"

namespace lowmem {
namespace {

template <class To, class From>
std::vector<To> converted(DType from, const std::vector<From>& values, DType to) {
  std::vector<To> result(values.size());
  convert(from, reinterpret_cast<const std::byte*>(values.data()), to,
          reinterpret_cast<std::byte*>(result.data()),
          static_cast<int64_t>(values.size()));
  return result;
}

std::vector<uint16_t> all_patterns() {
  std::vector<uint16_t> patterns;
  for (uint32_t bits = 0; bits < 65536; ++bits)
    patterns.push_back(static_cast<uint16_t>(bits));
  return patterns;
}

// The value by the definition of a binary format, in arithmetic alone.
double decode(uint16_t bits, int mantissa_bits) {
  const int exponent_bits = 15 - mantissa_bits;
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = bits >> mantissa_bits & ((1 << exponent_bits) - 1);
  const int mantissa = bits & ((1 << mantissa_bits) - 1);
  const double sign = bits & 0x8000 ? -1 : 1;
  if (exponent == (1 << exponent_bits) - 1)
    return mantissa ? std::numeric_limits<double>::quiet_NaN()
                    : sign * std::numeric_limits<double>::infinity();
  const double significand = mantissa + (exponent ? 1 << mantissa_bits : 0);
  return sign * std::ldexp(significand, std::max(exponent, 1) - bias - mantissa_bits);
}
double decode_f16(uint16_t bits) { return decode(bits, 10); }
double decode_bf16(uint16_t bits) { return decode(bits, 7); }

// Nearest bf16 to `value`, ties to even, found by distance among the neighbours.
uint16_t nearest_bf16(double value) {
  if (std::isnan(value)) return 0x7FC0;
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const double magnitude = std::fabs(value);
  uint32_t low = 0, high = 0x7F80;  // decode(low) <= magnitude < decode(high) = infinity
  if (std::isinf(value)) return static_cast<uint16_t>(sign | high);
  while (high - low > 1) {
    const uint32_t middle = (low + high) / 2;
    (decode_bf16(static_cast<uint16_t>(middle)) <= magnitude ? low : high) = middle;
  }
  const double below = decode_bf16(static_cast<uint16_t>(low));
  // Rounding takes infinity for the number that would follow the largest.
  const double above =
      high == 0x7F80 ? std::ldexp(1.0, 128) : decode_bf16(static_cast<uint16_t>(high));
  const double middle = (below + above) / 2;  // exact in double
  const bool up = magnitude > middle || (magnitude == middle && low % 2 == 1);
  return static_cast<uint16_t>(sign | (up ? high : low));
}

void expect_same(double got, double want, uint32_t bits) {
  if (std::isnan(want)) {
    EXPECT_TRUE(std::isnan(got)) << std::hex << bits;
  } else {
    EXPECT_EQ(got, want) << std::hex << bits;
    EXPECT_EQ(std::signbit(got), std::signbit(want)) << std::hex << bits;
  }
}

TEST(Convert, EveryF16PatternKeepsItsValueInF32) {
  const auto patterns = all_patterns();
  const auto result = converted<float>(DType::kF16, patterns, DType::kF32);
  for (uint16_t bits : patterns) expect_same(result[bits], decode_f16(bits), bits);
}

TEST(Convert, EveryBF16PatternKeepsItsValueInF32) {
  const auto patterns = all_patterns();
  const auto result = converted<float>(DType::kBF16, patterns, DType::kF32);
  for (uint16_t bits : patterns) expect_same(result[bits], decode_bf16(bits), bits);
}

TEST(Convert, EveryF16PatternRoundsToTheNearestBF16) {
  const auto patterns = all_patterns();
  const auto result = converted<uint16_t>(DType::kF16, patterns, DType::kBF16);
  for (uint16_t bits : patterns)
    expect_same(decode_bf16(result[bits]), decode_bf16(nearest_bf16(decode_f16(bits))),
                bits);
}

TEST(Convert, EveryBF16PatternSurvivesF32AndBack) {
  const auto patterns = all_patterns();
  const auto floats = converted<float>(DType::kBF16, patterns, DType::kF32);
  const auto back = converted<uint16_t>(DType::kF32, floats, DType::kBF16);
  for (uint16_t bits : patterns)
    expect_same(decode_bf16(back[bits]), decode_bf16(bits), bits);
}

// Around every bf16 number: itself, both sides of the tie above it, and the tie.
TEST(Convert, F32RoundsToTheNearestBF16AndTiesToEven) {
  std::vector<float> values;
  for (uint32_t high = 0; high < 65536; ++high)
    for (uint32_t low : {0x0000u, 0x0001u, 0x7FFFu, 0x8000u, 0x8001u, 0xFFFFu})
      values.push_back(std::bit_cast<float>(high << 16 | low));
  Random random(1);
  for (int i = 0; i < 100'000; ++i) values.push_back(std::bit_cast<float>(random.next()));
  const auto result = converted<uint16_t>(DType::kF32, values, DType::kBF16);
  for (size_t i = 0; i < values.size(); ++i)
    expect_same(decode_bf16(result[i]), decode_bf16(nearest_bf16(values[i])),
                std::bit_cast<uint32_t>(values[i]));
}

// The same ties, missed by less than F32 can tell: rounding through it would go wrong.
TEST(Convert, F64RoundsToBF16Once) {
  std::vector<double> values = {1 + 0x1p-8 + 0x1p-40,  // just above a tie: up
                                1 + 0x3p-8 - 0x1p-40,  // just below one: down
                                1e300,
                                -1e300,
                                1e-300,
                                5e-324,
                                -0.0};
  for (uint32_t high = 0; high < 65536; ++high) {
    const double tie = std::bit_cast<float>(high << 16 | 0x8000u);
    if (!std::isfinite(tie)) continue;
    for (double factor : {1 - 0x1p-40, 1.0, 1 + 0x1p-40}) values.push_back(tie * factor);
  }
  const double infinity = std::numeric_limits<double>::infinity();
  for (double special : {infinity, -infinity, std::nan("")}) values.push_back(special);
  const auto result = converted<uint16_t>(DType::kF64, values, DType::kBF16);
  for (size_t i = 0; i < values.size(); ++i)
    expect_same(decode_bf16(result[i]), decode_bf16(nearest_bf16(values[i])),
                static_cast<uint32_t>(i));
  EXPECT_EQ(result[0], 0x3F81);
  EXPECT_EQ(result[1], 0x3F81);
}

TEST(Convert, F64RoundsToF32) {
  const std::vector<double> values = {0.1, 1 + 0x1p-24, 1 + 0x3p-24, 1e300, -0.0, 1e-42};
  const auto result = converted<float>(DType::kF64, values, DType::kF32);
  const std::vector<float> want = {
      0.1f, 1.0f, 1 + 0x1p-22f, std::numeric_limits<float>::infinity(), -0.0f, 1e-42f};
  for (size_t i = 0; i < values.size(); ++i)
    expect_same(result[i], want[i], static_cast<uint32_t>(i));
}

TEST(Convert, TakesAnyAlignment) {
  const std::vector<double> doubles = {1, -2.5, 3, 4};
  for (DType from : {DType::kF64, DType::kF32, DType::kF16, DType::kBF16})
    for (DType to : {DType::kF32, DType::kBF16}) {
      // 1.0 and 2.0 in `from`, then at an odd address.
      const int64_t size = dtype_size(from);
      std::vector<std::byte> source(static_cast<size_t>(2 * size) + 1);
      for (int i = 0; i < 2; ++i) {
        const double value = 1 << i;
        const float narrow = static_cast<float>(value);
        const uint16_t f16 = static_cast<uint16_t>(0x3C00 + i * 0x400);
        const uint16_t bf16 = static_cast<uint16_t>(0x3F80 + i * 0x80);
        const void* bytes = from == DType::kF64   ? static_cast<const void*>(&value)
                            : from == DType::kF32 ? static_cast<const void*>(&narrow)
                            : from == DType::kF16 ? static_cast<const void*>(&f16)
                                                  : static_cast<const void*>(&bf16);
        std::memcpy(source.data() + 1 + i * size, bytes, static_cast<size_t>(size));
      }
      std::vector<std::byte> result(static_cast<size_t>(2 * dtype_size(to)) + 1);
      convert(from, source.data() + 1, to, result.data() + 1, 2);
      std::vector<float> values(2);
      convert(to, result.data() + 1, DType::kF32,
              reinterpret_cast<std::byte*>(values.data()), 2);
      EXPECT_EQ(values, (std::vector<float>{1, 2})) << dtype_name(from) << dtype_name(to);
    }
}

TEST(Convert, WritesNoElementPastTheCount) {
  const std::vector<uint16_t> source(100, 0x3F80);
  for (int64_t count = 0; count < 100; ++count) {
    std::vector<float> result(100, -7);
    convert(DType::kBF16, reinterpret_cast<const std::byte*>(source.data()), DType::kF32,
            reinterpret_cast<std::byte*>(result.data()), count);
    for (int64_t i = 0; i < 100; ++i)
      ASSERT_EQ(result[static_cast<size_t>(i)], i < count ? 1 : -7);
  }
}

TEST(Convert, KnowsFloatingPointPairsAlone) {
  EXPECT_TRUE(can_convert(DType::kF16, DType::kBF16));
  EXPECT_TRUE(can_convert(DType::kF64, DType::kF32));
  EXPECT_FALSE(can_convert(DType::kI64, DType::kF32));
  EXPECT_FALSE(can_convert(DType::kF32, DType::kF16));
  std::byte byte{};
  EXPECT_THROW(convert(DType::kI8, &byte, DType::kF32, &byte, 0), std::invalid_argument);
}

}  // namespace
}  // namespace lowmem
