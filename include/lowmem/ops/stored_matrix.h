#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "lowmem/core/dtype.h"

// A linear layer's matrix in the form in which it is stored. Of one in codes a slice at a
// time is made numbers, inside the product: none exists as a whole. Dettmers et al. 2023,
// "QLoRA: Efficient Finetuning of Quantized LLMs"; 2022, "LLM.int8()".
namespace lowmem::ops {

struct StoredMatrix {
  StoredMatrix() = default;
  StoredMatrix(at::Tensor plain);  // NOLINT: a tensor is a matrix
  // `parts`: as parts().
  StoredMatrix(Stored stored, int64_t out, int64_t in, std::span<const at::Tensor> parts);

  bool defined() const { return numbers.defined(); }
  bool plain() const { return form == Stored::kPlain; }
  // Of the form: the numbers, and what gives them their scale.
  static size_t part_count(Stored stored);
  std::vector<at::Tensor> parts() const;

  // Rows [first, first + count) in fp32 or bf16: [count, in].
  at::Tensor rows(int64_t first, int64_t count, at::ScalarType type) const;
  // And of these the columns [column, column + columns): [count, columns].
  at::Tensor block(int64_t first, int64_t count, int64_t column, int64_t columns,
                   at::ScalarType type) const;

  Stored form = Stored::kPlain;
  int64_t out = 0, in = 0;
  // [out, in] of any type; nf4 uint8 [out * in / 2, rounded up]; int8 [out, in].
  at::Tensor numbers;
  at::Tensor scales;  // nf4: fp32 or uint8 [out * in / 64, rounded up]; int8: fp32 [out]
  at::Tensor nested;  // nf4 double: fp32, for each 256 of them
  at::Tensor offset;  // nf4 double: fp32 [1], that is added to each
};

// x [n, in] @ W.T -> [n, out], in x's type, of a matrix in codes.
at::Tensor product_by_rows(const at::Tensor& x, const StoredMatrix& matrix);
// dy [n, out] @ W[:, first : first + columns] -> [n, columns], likewise.
at::Tensor product_by_columns(const at::Tensor& dy, const StoredMatrix& matrix,
                              int64_t first, int64_t columns);

// values [count] fp32 contiguous, a whole matrix's rows in order, into codes: the parts
// of an nf4 matrix of which `values` are elements from `first` on, a multiple of 64 (with
// fp32 scales), or of whole rows from `first` / in on for int8. Throws std::domain_error
// where int8 meets a number beyond fp16.
void quantize_into(StoredMatrix& matrix, const at::Tensor& values, int64_t first);
// Makes the scales of a kNf4 matrix those of `to`, a kNf4Double one of the same codes.
void quantize_scales(const at::Tensor& scales, StoredMatrix& to);

}  // namespace lowmem::ops
