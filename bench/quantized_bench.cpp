#include "compare.h"
#include "lowmem/kernels/int8_rows.h"
#include "lowmem/kernels/nf4.h"
#include "lowmem/ops/elements.h"

namespace lowmem::bench {
namespace {

// A matrix back from codes, beside ATen's copy of as many fp32 numbers: what a frozen
// matrix costs anyway that is kept wider than it is multiplied.
struct Dequantize {
  explicit Dequantize(at::ScalarType dtype)
      : values(normal({kIntermediate, kHidden}, at::kFloat, 0.02)),
        y(at::empty(values.sizes(), dtype)) {}

  void aten() { y.copy_(values); }
  int64_t elements() const { return values.numel(); }
  const float* source() const { return values.const_data_ptr<float>(); }

  at::Tensor values, y;
};

struct Nf4 : Dequantize {
  explicit Nf4(at::ScalarType dtype)
      : Dequantize(dtype),
        codes(at::empty({kernels::nf4_bytes(elements())}, at::kByte)),
        absmax(at::empty({kernels::nf4_blocks(elements())}, at::kFloat)),
        absmax_codes(at::empty(absmax.sizes(), at::kByte)),
        nested(at::empty({kernels::nf4_nested(absmax.numel())}, at::kFloat)) {
    quantize();
    matrix.codes = codes.const_data_ptr<uint8_t>();
    matrix.absmax_codes = absmax_codes.const_data_ptr<uint8_t>();
    matrix.nested_absmax = nested.const_data_ptr<float>();
  }
  void quantize() {
    kernels::quantize_nf4(ops::array_of(values), elements(),
                          codes.mutable_data_ptr<uint8_t>(),
                          absmax.mutable_data_ptr<float>());
    kernels::quantize_absmax(absmax.const_data_ptr<float>(), absmax.numel(),
                             absmax_codes.mutable_data_ptr<uint8_t>(),
                             nested.mutable_data_ptr<float>(), &matrix.offset);
  }
  void kernel() { kernels::dequantize_nf4(matrix, 0, elements(), ops::array_of(y)); }
  int64_t bytes() const {
    return static_cast<int64_t>(codes.nbytes() + absmax_codes.nbytes() + y.nbytes());
  }

  at::Tensor codes, absmax, absmax_codes, nested;
  kernels::Nf4View matrix;
};

struct Nf4Quantize : Nf4 {
  using Nf4::Nf4;
  void kernel() { quantize(); }
  int64_t bytes() const { return static_cast<int64_t>(values.nbytes() + codes.nbytes()); }
};

struct Int8 : Dequantize {
  explicit Int8(at::ScalarType dtype)
      : Dequantize(dtype),
        codes(at::empty(values.sizes(), at::kChar)),
        scales(at::empty({kIntermediate}, at::kFloat)) {
    quantize();
  }
  void quantize() {
    for (int64_t row = 0; row < kIntermediate; ++row)
      kernels::quantize_int8({source() + row * kHidden, DType::kF32}, kHidden,
                             codes.mutable_data_ptr<int8_t>() + row * kHidden,
                             scales.mutable_data_ptr<float>() + row);
  }
  void kernel() {
    const int64_t width = y.element_size();
    for (int64_t row = 0; row < kIntermediate; ++row) {
      kernels::Array out = ops::array_of(y);
      out.data = static_cast<char*>(out.data) + row * kHidden * width;
      kernels::dequantize_int8(codes.const_data_ptr<int8_t>() + row * kHidden,
                               scales.const_data_ptr<float>()[row], kHidden, out);
    }
  }
  int64_t bytes() const { return static_cast<int64_t>(codes.nbytes() + y.nbytes()); }

  at::Tensor codes, scales;
};

struct Int8Quantize : Int8 {
  using Int8::Int8;
  void kernel() { quantize(); }
  int64_t bytes() const { return static_cast<int64_t>(values.nbytes() + codes.nbytes()); }
};

[[maybe_unused]] const bool registered =
    compare<Nf4>("nf4_dequantize") && compare<Int8>("int8_dequantize") &&
    compare<Nf4Quantize>("nf4_quantize") && compare<Int8Quantize>("int8_quantize");

}  // namespace
}  // namespace lowmem::bench
