// cuBLASLt, as far as LibTorch uses it: descriptions of a product and of its matrices,
// one algorithm to choose from, and the product.
#include <cublasLt.h>

#include <cstring>

#include "fake_gpu/products.h"

namespace lowmem::fake_gpu {
namespace {

struct Description {
  cublasOperation_t a_op = CUBLAS_OP_N, b_op = CUBLAS_OP_N;
};
struct Layout {
  cudaDataType type;
  int64_t rows, columns, leading, stride = 0;
  int32_t batch = 1;
};
Description& description_of(cublasLtMatmulDesc_t handle) {
  return *reinterpret_cast<Description*>(handle);
}
Layout& layout_of(cublasLtMatrixLayout_t handle) {
  return *reinterpret_cast<Layout*>(handle);
}
Operand operand(const void* data, cublasLtMatrixLayout_t handle) {
  const Layout& of = layout_of(handle);
  return {data, of.type, of.leading, of.stride};
}

}  // namespace

FAKE_GPU_API size_t cublasLtGetVersion() { return CUBLAS_VERSION; }

FAKE_GPU_API cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* description,
                                                     cublasComputeType_t,
                                                     cudaDataType_t) {
  *description = reinterpret_cast<cublasLtMatmulDesc_t>(new Description);
  return CUBLAS_STATUS_SUCCESS;
}
FAKE_GPU_API cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t description) {
  delete &description_of(description);
  return CUBLAS_STATUS_SUCCESS;
}
FAKE_GPU_API cublasStatus_t cublasLtMatmulDescSetAttribute(
    cublasLtMatmulDesc_t description, cublasLtMatmulDescAttributes_t name,
    const void* value, size_t) {
  Description& of = description_of(description);
  if (name == CUBLASLT_MATMUL_DESC_TRANSA) memcpy(&of.a_op, value, sizeof of.a_op);
  if (name == CUBLASLT_MATMUL_DESC_TRANSB) memcpy(&of.b_op, value, sizeof of.b_op);
  return CUBLAS_STATUS_SUCCESS;
}

FAKE_GPU_API cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout,
                                                       cudaDataType type, uint64_t rows,
                                                       uint64_t columns,
                                                       int64_t leading) {
  auto* made = new Layout{type, static_cast<int64_t>(rows), static_cast<int64_t>(columns),
                          leading};
  *layout = reinterpret_cast<cublasLtMatrixLayout_t>(made);
  return CUBLAS_STATUS_SUCCESS;
}
FAKE_GPU_API cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete &layout_of(layout);
  return CUBLAS_STATUS_SUCCESS;
}
FAKE_GPU_API cublasStatus_t cublasLtMatrixLayoutSetAttribute(
    cublasLtMatrixLayout_t layout, cublasLtMatrixLayoutAttribute_t name,
    const void* value, size_t) {
  Layout& of = layout_of(layout);
  if (name == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT)
    memcpy(&of.batch, value, sizeof of.batch);
  if (name == CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET)
    memcpy(&of.stride, value, sizeof of.stride);
  return CUBLAS_STATUS_SUCCESS;
}

FAKE_GPU_API cublasStatus_t
cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  *preference = reinterpret_cast<cublasLtMatmulPreference_t>(new char);
  return CUBLAS_STATUS_SUCCESS;
}
FAKE_GPU_API cublasStatus_t
cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete reinterpret_cast<char*>(preference);
  return CUBLAS_STATUS_SUCCESS;
}
FAKE_GPU_API cublasStatus_t cublasLtMatmulPreferenceSetAttribute(
    cublasLtMatmulPreference_t, cublasLtMatmulPreferenceAttributes_t, const void*,
    size_t) {
  return CUBLAS_STATUS_SUCCESS;
}
FAKE_GPU_API cublasStatus_t cublasLtMatmulAlgoGetHeuristic(
    cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t,
    cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
    cublasLtMatmulPreference_t, int, cublasLtMatmulHeuristicResult_t results[],
    int* count) {
  results[0] = {};
  results[0].state = CUBLAS_STATUS_SUCCESS;
  *count = 1;
  return CUBLAS_STATUS_SUCCESS;
}

FAKE_GPU_API cublasStatus_t
cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t description, const void*,
               const void* a, cublasLtMatrixLayout_t a_layout, const void* b,
               cublasLtMatrixLayout_t b_layout, const void*, const void*,
               cublasLtMatrixLayout_t, void* d, cublasLtMatrixLayout_t d_layout,
               const cublasLtMatmulAlgo_t*, void*, size_t, cudaStream_t stream) {
  const Description& of = description_of(description);
  const Layout &left = layout_of(a_layout), &out = layout_of(d_layout);
  const int64_t k = of.a_op == CUBLAS_OP_N ? left.columns : left.rows;
  return put_product(
      {"cublasLtMatmul", of.a_op, of.b_op, out.rows, out.columns, k, operand(a, a_layout),
       operand(b, b_layout), operand(d, d_layout), out.batch},
      stream);
}

}  // namespace lowmem::fake_gpu
