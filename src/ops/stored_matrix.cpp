#include "lowmem/ops/stored_matrix.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <atomic>
#include <stdexcept>

#include "lowmem/core/units.h"
#include "lowmem/kernels/int8_rows.h"
#include "lowmem/kernels/nf4.h"
#include "lowmem/ops/device.h"
#include "lowmem/ops/elements.h"
#include "lowmem/ops/large.h"

namespace lowmem::ops {
namespace {

// Numbers that are made of codes at a time: some of a core's second cache, and of rows or
// columns enough to keep a product busy.
// A device is kept busy by large ones alone.
constexpr int64_t kSliceBytes = 2 * kMiB, kDeviceSliceBytes = 64 * kMiB;
constexpr int64_t kLeast = 64;

int64_t slice_of(int64_t elements_each, const at::Tensor& like) {
  const int64_t bytes = elements_each * like.element_size();
  const int64_t most = for_device(like) ? kDeviceSliceBytes : kSliceBytes;
  return std::max(kLeast, most / std::max<int64_t>(1, bytes) / kLeast * kLeast);
}

kernels::Nf4View view_of(const StoredMatrix& matrix) {
  kernels::Nf4View view;
  view.codes = matrix.numbers.const_data_ptr<uint8_t>();
  if (matrix.form == Stored::kNf4) {
    view.absmax = matrix.scales.const_data_ptr<float>();
    return view;
  }
  view.absmax_codes = matrix.scales.const_data_ptr<uint8_t>();
  view.nested_absmax = matrix.nested.const_data_ptr<float>();
  const float* offset = matrix.offset.const_data_ptr<float>();
  if (on_device(matrix.offset))
    view.offset_there = offset;
  else
    view.offset = *offset;
  return view;
}

// Elements from `first` on, of what begins at `array`.
kernels::Array from(const kernels::Array& array, int64_t first) {
  return {static_cast<std::byte*>(array.data) + first * dtype_size(array.dtype),
          array.dtype};
}

// Rows from `row` on and columns from `column` on, as many as `to` [rows, columns] has.
void make_numbers(const StoredMatrix& matrix, int64_t row, int64_t column,
                  at::Tensor& to) {
  const int64_t columns = to.size(1);
  const kernels::Array numbers = array_of(to);
  if (on_device(to)) {
    const kernels::Stream stream = stream_of(to);
    const int64_t first = row * matrix.in + column;
    if (matrix.form == Stored::kInt8)
      return kernels::cuda::dequantize_int8(
          matrix.numbers.const_data_ptr<int8_t>() + first,
          matrix.scales.const_data_ptr<float>() + row, to.size(0), columns, matrix.in,
          numbers, stream);
    return kernels::cuda::dequantize_nf4(view_of(matrix), first, to.size(0), columns,
                                         matrix.in, numbers, stream);
  }
  parallel(to.size(0), rows_of_grain(columns), [&](int64_t begin, int64_t end) {
    if (matrix.form == Stored::kInt8) {
      const int8_t* codes = matrix.numbers.const_data_ptr<int8_t>();
      const float* scales = matrix.scales.const_data_ptr<float>();
      for (int64_t i = begin; i < end; ++i)
        kernels::dequantize_int8(codes + (row + i) * matrix.in + column, scales[row + i],
                                 columns, from(numbers, i * columns));
      return;
    }
    const kernels::Nf4View view = view_of(matrix);
    if (columns == matrix.in)
      return kernels::dequantize_nf4(view, (row + begin) * columns,
                                     (end - begin) * columns,
                                     from(numbers, begin * columns));
    for (int64_t i = begin; i < end; ++i)
      kernels::dequantize_nf4(view, (row + i) * matrix.in + column, columns,
                              from(numbers, i * columns));
  });
}

}  // namespace

StoredMatrix::StoredMatrix(at::Tensor plain) : numbers(std::move(plain)) {
  if (!numbers.defined()) return;
  out = numbers.size(0);
  in = numbers.size(1);
}

StoredMatrix::StoredMatrix(Stored stored, int64_t rows, int64_t columns,
                           std::span<const at::Tensor> parts)
    : form(stored), out(rows), in(columns) {
  at::Tensor* const to[] = {&numbers, &scales, &nested, &offset};
  for (size_t i = 0; i < part_count(stored); ++i) *to[i] = parts[i];
}

size_t StoredMatrix::part_count(Stored stored) {
  return stored == Stored::kPlain ? 1 : stored == Stored::kNf4Double ? 4 : 2;
}

std::vector<at::Tensor> StoredMatrix::parts() const {
  const std::vector<at::Tensor> all = {numbers, scales, nested, offset};
  return {all.begin(), all.begin() + static_cast<std::ptrdiff_t>(part_count(form))};
}

at::Tensor StoredMatrix::rows(int64_t first, int64_t count, at::ScalarType type) const {
  return block(first, count, 0, in, type);
}

at::Tensor StoredMatrix::block(int64_t first, int64_t count, int64_t column,
                               int64_t columns, at::ScalarType type) const {
  if (plain())
    return converted(numbers.narrow(0, first, count).narrow(1, column, columns), type);
  at::Tensor made = at::empty({count, columns}, numbers.options().dtype(type));
  make_numbers(*this, first, column, made);
  return made;
}

at::Tensor product_by_rows(const at::Tensor& x, const StoredMatrix& matrix) {
  at::Tensor y = at::empty({x.size(0), matrix.out}, x.options());
  const int64_t slice = std::min(matrix.out, slice_of(matrix.in, x));
  const at::Tensor room = at::empty({slice, matrix.in}, x.options());
  for (int64_t first = 0; first < matrix.out; first += slice) {
    const int64_t count = std::min(slice, matrix.out - first);
    at::Tensor rows = room.narrow(0, 0, count), part = y.narrow(1, first, count);
    make_numbers(matrix, first, 0, rows);
    product_into(part, x, rows.t());
  }
  return y;
}

at::Tensor product_by_columns(const at::Tensor& dy, const StoredMatrix& matrix,
                              int64_t first, int64_t columns) {
  at::Tensor dx = at::empty({dy.size(0), columns}, dy.options());
  const int64_t slice = std::min(columns, slice_of(matrix.out, dy));
  const at::Tensor room = at::empty({slice * matrix.out}, dy.options());
  for (int64_t at = 0; at < columns; at += slice) {
    const int64_t count = std::min(slice, columns - at);
    at::Tensor numbers = room.narrow(0, 0, matrix.out * count).view({matrix.out, count});
    at::Tensor part = dx.narrow(1, at, count);
    make_numbers(matrix, 0, first + at, numbers);
    product_into(part, dy, numbers);
  }
  return dx;
}

void quantize_into(StoredMatrix& matrix, const at::Tensor& values, int64_t first) {
  const float* numbers = values.const_data_ptr<float>();
  const int64_t count = values.numel();
  if (matrix.form == Stored::kInt8) {
    const int64_t columns = matrix.in;
    int8_t* codes = matrix.numbers.mutable_data_ptr<int8_t>() + first;
    float* scales = matrix.scales.mutable_data_ptr<float>() + first / columns;
    std::atomic<bool> finite = true;
    parallel(count / columns, rows_of_grain(columns), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        if (!kernels::quantize_int8({numbers + i * columns}, columns, codes + i * columns,
                                    scales + i))
          finite = false;
    });
    if (!finite) throw std::domain_error("beyond fp16");
    return;
  }
  constexpr int64_t kBlock = kernels::kNf4Block;
  uint8_t* codes = matrix.numbers.mutable_data_ptr<uint8_t>() + first / 2;
  float* scales = matrix.scales.mutable_data_ptr<float>() + first / kBlock;
  parallel((count + kBlock - 1) / kBlock, rows_of_grain(kBlock),
           [&](int64_t begin, int64_t end) {
             kernels::quantize_nf4({numbers + begin * kBlock},
                                   std::min(end * kBlock, count) - begin * kBlock,
                                   codes + begin * kBlock / 2, scales + begin);
           });
}

void quantize_scales(const at::Tensor& scales, StoredMatrix& to) {
  kernels::quantize_absmax(scales.const_data_ptr<float>(), scales.numel(),
                           to.scales.mutable_data_ptr<uint8_t>(),
                           to.nested.mutable_data_ptr<float>(),
                           to.offset.mutable_data_ptr<float>());
}

}  // namespace lowmem::ops
