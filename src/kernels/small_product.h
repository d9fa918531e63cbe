#pragma once

// Products of small fp32 matrices that lie in a workspace: rows begin at multiples of 16
// numbers and are filled up with zeros, so that columns go sixteen at a time. An element
// is added up in the order of the inner dimension, however the product is cut.

#include "vector.h"

namespace lowmem::kernels::LOWMEM_ISA {

constexpr int64_t padded(int64_t columns) {
  return (columns + kLanes - 1) / kLanes * kLanes;
}

// The left factor, of which any two strides will do.
struct Left {
  const float* data;
  int64_t row_stride, column_stride;
};

constexpr int64_t kColumns = kRegister / sizeof(float);  // of a register

LOWMEM_INLINE Floats load_register(const float* from) {
  Floats x;
  std::memcpy(&x, from, sizeof x);
  return x;
}

// c [R, V registers] = (or +=) a [R, inner] @ b [inner, V registers]. The sums stay in
// registers: at most 8 of the 16 there are, or 16 of 32 with AVX-512.
template <int R, int V>
LOWMEM_INLINE void product_block(Left a, const float* b, int64_t b_stride, float* c,
                                 int64_t c_stride, int64_t inner, bool add) {
  Floats sums[R][V] = {};
  if (add)
    for (int r = 0; r < R; ++r)
      for (int v = 0; v < V; ++v)
        sums[r][v] = load_register(c + r * c_stride + v * kColumns);
  for (int64_t k = 0; k < inner; ++k) {
    Floats row[V];
    for (int v = 0; v < V; ++v) row[v] = load_register(b + k * b_stride + v * kColumns);
    for (int r = 0; r < R; ++r) {
      const Floats x = a.data[r * a.row_stride + k * a.column_stride] - Floats{};
      for (int v = 0; v < V; ++v) sums[r][v] += x * row[v];
    }
  }
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v)
      std::memcpy(c + r * c_stride + v * kColumns, &sums[r][v], sizeof sums[r][v]);
}

template <int R>
inline void product_rows(Left a, const float* b, int64_t b_stride, float* c,
                         int64_t c_stride, int64_t columns, int64_t inner, bool add) {
  constexpr int kMost = kRegister == 64 ? 4 : 2;
  int64_t j = 0;
  for (; j + kMost * kColumns <= columns; j += kMost * kColumns)
    product_block<R, kMost>(a, b + j, b_stride, c + j, c_stride, inner, add);
  for (; j + 2 * kColumns <= columns; j += 2 * kColumns)
    product_block<R, 2>(a, b + j, b_stride, c + j, c_stride, inner, add);
  for (; j < columns; j += kColumns)
    product_block<R, 1>(a, b + j, b_stride, c + j, c_stride, inner, add);
}

// c [rows, columns] = (or +=) a [rows, inner] @ b [inner, columns], columns padded.
inline void product(Left a, const float* b, int64_t b_stride, float* c, int64_t c_stride,
                    int64_t rows, int64_t columns, int64_t inner, bool add) {
  int64_t i = 0;
  for (; i + 4 <= rows; i += 4)
    product_rows<4>({a.data + i * a.row_stride, a.row_stride, a.column_stride}, b,
                    b_stride, c + i * c_stride, c_stride, columns, inner, add);
  for (; i < rows; ++i)
    product_rows<1>({a.data + i * a.row_stride, a.row_stride, a.column_stride}, b,
                    b_stride, c + i * c_stride, c_stride, columns, inner, add);
}

}  // namespace lowmem::kernels::LOWMEM_ISA
