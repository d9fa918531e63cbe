#pragma once

// Matrix products, for cuBLAS and cuBLASLt alike. Matrices are column-major.

#include <cublas_v2.h>

#include "fake_gpu/fake.h"

namespace lowmem::fake_gpu {

struct Operand {
  const void* data;
  cudaDataType type;
  int64_t leading;     // elements from a column to the next
  int64_t stride = 0;  // elements from a matrix of a batch to the next
};

// C [m, n] = op(A) [m, k] op(B) [k, n], `batch` times.
struct Product {
  const char* call;
  cublasOperation_t a_op, b_op;
  int64_t m, n, k;
  Operand a, b, c;
  int64_t batch = 1;
};

// Refuses matrices that are not memory of the GPU, or that end beyond it.
cublasStatus_t put_product(const Product& product, cudaStream_t stream);

}  // namespace lowmem::fake_gpu
