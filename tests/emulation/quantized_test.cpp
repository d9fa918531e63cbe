// The device's matrices in 4 and 8 bits: the CPU's in every bit.
#include "emulation/support.h"
#include "lowmem/kernels/int8_rows.h"
#include "lowmem/kernels/nf4.h"

namespace lowmem::kernels {
namespace {

using test::Numbers;

class EmulatedQuantized : public testing::TestWithParam<DType> {};

// A matrix in 4 bits, its scales in both forms, between guards. Made by the CPU, or by
// the emulated device.
struct Nf4 {
  Nf4(const Numbers& values, int64_t shift)
      : count(values.count()),
        codes(nf4_bytes(count), DType::kU8, shift),
        absmax(nf4_blocks(count), DType::kF32, shift),
        absmax_codes(nf4_blocks(count), DType::kU8, shift),
        nested(nf4_nested(absmax.count()), DType::kF32, shift),
        offset(1, DType::kF32) {}

  void quantize_on_cpu(const Numbers& values) {
    quantize_nf4(values.read_only(), count, codes.as<uint8_t>(), absmax.as<float>());
    quantize_absmax(absmax.as<float>(), absmax.count(), absmax_codes.as<uint8_t>(),
                    nested.as<float>(), offset.as<float>());
  }
  void quantize_on_device(const Numbers& values) {
    emulated::quantize_nf4(values.read_only(), count, codes.as<uint8_t>(),
                           absmax.as<float>(), nullptr);
    emulated::quantize_absmax(absmax.as<float>(), absmax.count(),
                              absmax_codes.as<uint8_t>(), nested.as<float>(),
                              offset.as<float>(), nullptr);
  }
  Nf4View plain() { return {.codes = codes.as<uint8_t>(), .absmax = absmax.as<float>()}; }
  Nf4View double_quantized() {
    return {.codes = codes.as<uint8_t>(),
            .absmax_codes = absmax_codes.as<uint8_t>(),
            .nested_absmax = nested.as<float>(),
            .offset = offset.at(0)};
  }
  std::string bytes() const {
    return codes.bytes() + absmax.bytes() + absmax_codes.bytes() + nested.bytes() +
           offset.bytes();
  }

  int64_t count;
  Numbers codes, absmax, absmax_codes, nested, offset;
};

// Some blocks are zero, and magnitudes differ from block to block.
Numbers matrix_of(int64_t count, DType dtype, int64_t shift) {
  Numbers values(count, dtype, shift, 1);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t block = i / kNf4Block;
    values.set(
        i, block % 5 == 2 ? 0 : values.at(i) * static_cast<float>(1 + block * 7 % 11));
  }
  return values;
}

TEST_P(EmulatedQuantized, CodesAndScalesOfNf4AreThoseOfTheCpu) {
  // The last: two blocks of nested scales and a short one.
  std::vector<int64_t> counts = test::lengths();
  counts.push_back(64 * 530 + 3);
  for (const int64_t count : counts)
    for (const int64_t shift : test::kShifts) {
      SCOPED_TRACE(count);
      const Numbers values = matrix_of(count, GetParam(), shift);
      Nf4 want(values, shift);
      want.quantize_on_cpu(values);
      EXPECT_TRUE(test::for_all_launches([&] {
                    Nf4 got(values, shift);
                    got.quantize_on_device(values);
                    return got.bytes();
                  }) == want.bytes());
    }
}

TEST_P(EmulatedQuantized, AnySliceOfNf4ComesBackAsOnTheCpu) {
  for (const int64_t shift : test::kShifts) {
    const int64_t count = 64 * 40 + 5;
    const Numbers values = matrix_of(count, DType::kF32, shift);
    Nf4 matrix(values, shift);
    matrix.quantize_on_cpu(values);
    for (const Nf4View& view : {matrix.plain(), matrix.double_quantized()})
      for (const int64_t first : {0, 1, 8, 63, 64, 172})
        for (const int64_t size : {int64_t{0}, int64_t{1}, int64_t{7}, int64_t{64},
                                   int64_t{333}, count - first}) {
          SCOPED_TRACE(testing::Message() << first << " + " << size);
          Numbers want(size, GetParam(), shift);
          dequantize_nf4(view, first, size, want.array());
          EXPECT_TRUE(test::for_all_launches([&] {
                        Numbers got(size, GetParam(), shift);
                        emulated::dequantize_nf4(view, first, 1, size, size, got.array(),
                                                 nullptr);
                        return got.bytes();
                      }) == want.bytes());
        }
  }
}

// Rows and columns of a matrix that is wider, as a product takes them; the mean of the
// scales lies in the device's memory.
TEST_P(EmulatedQuantized, APartOfAMatrixComesBackAsOnTheCpu) {
  struct Cut {
    int64_t width, row, rows, column, columns;
  };
  for (const int64_t shift : test::kShifts)
    for (const Cut& cut : {Cut{128, 1, 5, 64, 64}, Cut{128, 0, 7, 8, 40},
                           Cut{100, 2, 4, 3, 61}, Cut{128, 3, 2, 5, 16}}) {
      const int64_t rows = cut.row + cut.rows, count = rows * cut.width;
      SCOPED_TRACE(testing::Message() << cut.columns << " of " << cut.width);
      const int64_t first = cut.row * cut.width + cut.column;
      Numbers values = matrix_of(count, DType::kF32, shift);
      Nf4 matrix(values, shift);
      matrix.quantize_on_cpu(values);
      Numbers codes(count, DType::kU8, shift), scales(rows, DType::kF32);
      for (int64_t row = 0; row < rows; ++row)
        quantize_int8({values.as<float>() + row * cut.width, DType::kF32}, cut.width,
                      codes.as<int8_t>() + row * cut.width, scales.as<float>() + row);
      Numbers want(cut.rows * cut.columns, GetParam(), shift),
          want_int8(cut.rows * cut.columns, GetParam(), shift);
      const auto row_of = [&](Numbers& numbers, int64_t row) {
        return Array{static_cast<char*>(numbers.array().data) +
                         row * cut.columns * dtype_size(GetParam()),
                     GetParam()};
      };
      for (int64_t row = 0; row < cut.rows; ++row) {
        const int64_t from = first + row * cut.width;
        dequantize_nf4(matrix.double_quantized(), from, cut.columns, row_of(want, row));
        dequantize_int8(codes.as<int8_t>() + from, scales.at(cut.row + row), cut.columns,
                        row_of(want_int8, row));
      }
      const float offset = matrix.double_quantized().offset;
      Nf4View view = matrix.double_quantized();
      view.offset = 1000;
      view.offset_there = &offset;
      EXPECT_TRUE(test::for_all_launches([&] {
                    Numbers got(cut.rows * cut.columns, GetParam(), shift);
                    emulated::dequantize_nf4(view, first, cut.rows, cut.columns,
                                             cut.width, got.array(), nullptr);
                    return got.bytes();
                  }) == want.bytes());
      EXPECT_TRUE(test::for_all_launches([&] {
                    Numbers got(cut.rows * cut.columns, GetParam(), shift);
                    emulated::dequantize_int8(
                        codes.as<int8_t>() + first, scales.as<float>() + cut.row,
                        cut.rows, cut.columns, cut.width, got.array(), nullptr);
                    return got.bytes();
                  }) == want_int8.bytes());
    }
}

TEST_P(EmulatedQuantized, Int8IsThatOfTheCpuBothWays) {
  constexpr int64_t kRows = 3;
  for (const int64_t columns : test::lengths())
    for (const int64_t shift : test::kShifts) {
      SCOPED_TRACE(columns);
      Numbers values(kRows * columns, GetParam(), shift, 1, -3, 3);
      for (int64_t i = 0; i < columns; ++i) values.set(columns + i, 0);
      for (int64_t i = 0; i < columns; i += 3)  // subnormal in fp16
        values.set(2 * columns + i, 1e-5f * values.at(2 * columns + i));
      Numbers codes(kRows * columns, DType::kU8, shift), scales(kRows, DType::kF32);
      Numbers back(kRows * columns, GetParam(), shift);
      const auto element = [&](const ConstArray& array, int64_t i) {
        return static_cast<const char*>(array.data) + i * dtype_size(array.dtype);
      };
      for (int64_t row = 0; row < kRows; ++row) {
        const int64_t at = row * columns;
        EXPECT_TRUE(quantize_int8({element(values.read_only(), at), GetParam()}, columns,
                                  codes.as<int8_t>() + at, scales.as<float>() + row));
        dequantize_int8(codes.as<int8_t>() + at, scales.at(row), columns,
                        {const_cast<char*>(element(back.read_only(), at)), GetParam()});
      }
      EXPECT_TRUE(test::for_all_launches([&] {
                    Numbers own_codes(kRows * columns, DType::kU8, shift);
                    Numbers own_scales(kRows, DType::kF32);
                    Numbers own_back(kRows * columns, GetParam(), shift);
                    int64_t not_finite = 7;
                    emulated::quantize_int8(values.read_only(), kRows, columns,
                                            own_codes.as<int8_t>(),
                                            own_scales.as<float>(), &not_finite, nullptr);
                    EXPECT_EQ(not_finite, 7);
                    emulated::dequantize_int8(own_codes.as<int8_t>(),
                                              own_scales.as<float>(), kRows, columns,
                                              columns, own_back.array(), nullptr);
                    return own_codes.bytes() + own_scales.bytes() + own_back.bytes();
                  }) == codes.bytes() + scales.bytes() + back.bytes());
    }
}

TEST_P(EmulatedQuantized, Int8CountsTheRowsThatFp16CannotHold) {
  constexpr int64_t kRows = 5, kColumns = 33;
  Numbers values(kRows * kColumns, GetParam(), 0, 1);
  values.set(7, std::nanf(""));
  values.set(2 * kColumns, 66000);
  values.set(2 * kColumns + 1, -HUGE_VALF);
  values.set(4 * kColumns + 32, -HUGE_VALF);
  Numbers codes(kRows * kColumns, DType::kU8), scales(kRows, DType::kF32);
  int64_t not_finite = 0;
  emulated::quantize_int8(values.read_only(), kRows, kColumns, codes.as<int8_t>(),
                          scales.as<float>(), &not_finite, nullptr);
  EXPECT_EQ(not_finite, 3);
}

INSTANTIATE_TEST_SUITE_P(Kernels, EmulatedQuantized, testing::ValuesIn(test::kTypes),
                         test::name_of_type);

}  // namespace
}  // namespace lowmem::kernels
