#include "lowmem/kernels/int8_rows.h"

#include "fp16_grid.h"
#include "vector_bytes.h"

namespace lowmem::kernels {
namespace LOWMEM_ISA {
namespace {

// To nearest, ties to even; what fp16 makes infinite is kInfinite or more. NaN stays NaN.
LOWMEM_INLINE Float16 rounded_to_fp16(Float16 all) {
  return by_register(all, [](Floats x) LOWMEM_INLINE_LAMBDA {
    using namespace fp16_grid;
    const Words bits = reinterpret_cast<Words>(x), sign = bits & 0x80000000;
    const Floats size = reinterpret_cast<Floats>(bits ^ sign);
    const Floats tiny = (size + kSubnormalShift) - kSubnormalShift;
    const Words even = ((bits ^ sign) >> kCut) & 1;
    const Words normal = ((bits ^ sign) + (kCutMask >> 1) + even) & ~kCutMask;
    const Floats rounded = size < kLeastNormal ? tiny : reinterpret_cast<Floats>(normal);
    const Floats number = size == size ? rounded : size;
    return reinterpret_cast<Floats>(reinterpret_cast<Words>(number) | sign);
  });
}

template <class T>
bool quantize(const T* row, int64_t count, int8_t* codes, float* scale) {
  LargestLanes most(0);
  Word16 bad{};
  for_lanes(0, count, [&](int64_t i, auto lanes) {
    const Float16 x = rounded_to_fp16(load(row + i, lanes));
    most.add(magnitude(x));
    bad |= ~above(splat(fp16_grid::kInfinite), magnitude(x));  // NaN too
  });
  *scale = most.total();
  const float factor = *scale > 0 ? 1 / *scale * 127 : 0;
  for_lanes(0, count, [&](int64_t i, auto lanes) {
    const Float16 whole =
        rounded_to_fp16(load(row + i, lanes)) * factor + splat(fp16_grid::kWholeShift);
    const Byte16 some = to_bytes(as_words(whole) & 0xff);
    std::memcpy(codes + i, &some, static_cast<size_t>(lanes.count));
  });
  return count_true(reinterpret_cast<Int16>(bad)) == 0;
}

}  // namespace

bool quantize_int8(const ConstArray& row, int64_t count, int8_t* codes, float* scale) {
  return with_type(
      row, [&](const auto* values) { return quantize(values, count, codes, scale); });
}

void dequantize_int8(const int8_t* codes, float scale, int64_t count, Array out) {
  const float factor = scale * (1.0f / 127);
  with_mutable_type(out, [&](auto* to) {
    for_lanes(0, count, [&](int64_t i, auto lanes) {
      Byte16 some{};
      std::memcpy(&some, codes + i, static_cast<size_t>(lanes.count));
      store(to + i, to_floats(some) * factor, lanes);
    });
  });
}

}  // namespace LOWMEM_ISA

LOWMEM_DISPATCH(bool, quantize_int8,
                (const ConstArray& row, int64_t count, int8_t* codes, float* scale),
                (row, count, codes, scale))
LOWMEM_DISPATCH(void, dequantize_int8,
                (const int8_t* codes, float scale, int64_t count, Array out),
                (codes, scale, count, out))

}  // namespace lowmem::kernels
