// cuBLAS: products are checked, counted and not computed.
#include "fake_gpu/products.h"

namespace lowmem::fake_gpu {
namespace {

struct Handle {
  cudaStream_t stream = nullptr;
  cublasMath_t math = CUBLAS_DEFAULT_MATH;
  cublasPointerMode_t pointer_mode = CUBLAS_POINTER_MODE_HOST;
};
Handle& handle_of(cublasHandle_t handle) { return *reinterpret_cast<Handle*>(handle); }

cublasStatus_t gemm(const char* call, cublasHandle_t handle, cublasOperation_t a_op,
                    cublasOperation_t b_op, int64_t m, int64_t n, int64_t k, Operand a,
                    Operand b, Operand c, int64_t batch = 1) {
  return put_product({call, a_op, b_op, m, n, k, a, b, c, batch},
                     handle_of(handle).stream);
}

}  // namespace

FAKE_GPU_API cublasStatus_t cublasCreate_v2(cublasHandle_t* handle) {
  *handle = reinterpret_cast<cublasHandle_t>(new Handle);
  return CUBLAS_STATUS_SUCCESS;
}
FAKE_GPU_API cublasStatus_t cublasDestroy_v2(cublasHandle_t handle) {
  delete &handle_of(handle);
  return CUBLAS_STATUS_SUCCESS;
}
FAKE_GPU_API cublasStatus_t cublasSetStream_v2(cublasHandle_t handle,
                                               cudaStream_t stream) {
  handle_of(handle).stream = stream;
  return CUBLAS_STATUS_SUCCESS;
}
FAKE_GPU_API cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t, void* workspace,
                                                  size_t bytes) {
  FAKE_GPU_LOCK;
  if (workspace != nullptr && !on_device(workspace, bytes)) {
    note_refused("cublasSetWorkspace_v2", "the workspace is not memory of the GPU");
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  return CUBLAS_STATUS_SUCCESS;
}
FAKE_GPU_API cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode) {
  handle_of(handle).math = mode;
  return CUBLAS_STATUS_SUCCESS;
}
FAKE_GPU_API cublasStatus_t cublasGetMathMode(cublasHandle_t handle, cublasMath_t* mode) {
  *mode = handle_of(handle).math;
  return CUBLAS_STATUS_SUCCESS;
}
FAKE_GPU_API cublasStatus_t cublasSetPointerMode_v2(cublasHandle_t handle,
                                                    cublasPointerMode_t mode) {
  handle_of(handle).pointer_mode = mode;
  return CUBLAS_STATUS_SUCCESS;
}
FAKE_GPU_API cublasStatus_t cublasGetPointerMode_v2(cublasHandle_t handle,
                                                    cublasPointerMode_t* mode) {
  *mode = handle_of(handle).pointer_mode;
  return CUBLAS_STATUS_SUCCESS;
}

FAKE_GPU_API cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t a_op,
                                         cublasOperation_t b_op, int m, int n, int k,
                                         const void*, const void* a, cudaDataType a_type,
                                         int lda, const void* b, cudaDataType b_type,
                                         int ldb, const void*, void* c,
                                         cudaDataType c_type, int ldc,
                                         cublasComputeType_t, cublasGemmAlgo_t) {
  return gemm("cublasGemmEx", handle, a_op, b_op, m, n, k, {a, a_type, lda},
              {b, b_type, ldb}, {c, c_type, ldc});
}
FAKE_GPU_API cublasStatus_t cublasGemmStridedBatchedEx(
    cublasHandle_t handle, cublasOperation_t a_op, cublasOperation_t b_op, int m, int n,
    int k, const void*, const void* a, cudaDataType a_type, int lda, long long a_stride,
    const void* b, cudaDataType b_type, int ldb, long long b_stride, const void*, void* c,
    cudaDataType c_type, int ldc, long long c_stride, int batch, cublasComputeType_t,
    cublasGemmAlgo_t) {
  return gemm("cublasGemmStridedBatchedEx", handle, a_op, b_op, m, n, k,
              {a, a_type, lda, a_stride}, {b, b_type, ldb, b_stride},
              {c, c_type, ldc, c_stride}, batch);
}
FAKE_GPU_API cublasStatus_t cublasSgemmEx(cublasHandle_t handle, cublasOperation_t a_op,
                                          cublasOperation_t b_op, int m, int n, int k,
                                          const float*, const void* a,
                                          cudaDataType a_type, int lda, const void* b,
                                          cudaDataType b_type, int ldb, const float*,
                                          void* c, cudaDataType c_type, int ldc) {
  return gemm("cublasSgemmEx", handle, a_op, b_op, m, n, k, {a, a_type, lda},
              {b, b_type, ldb}, {c, c_type, ldc});
}

// Of one type throughout.
#define FAKE_GPU_GEMM(letter, T, type)                                                   \
  FAKE_GPU_API cublasStatus_t cublas##letter##gemm_v2(                                   \
      cublasHandle_t handle, cublasOperation_t a_op, cublasOperation_t b_op, int m,      \
      int n, int k, const T*, const T* a, int lda, const T* b, int ldb, const T*, T* c,  \
      int ldc) {                                                                         \
    return gemm("cublas" #letter "gemm_v2", handle, a_op, b_op, m, n, k, {a, type, lda}, \
                {b, type, ldb}, {c, type, ldc});                                         \
  }                                                                                      \
  FAKE_GPU_API cublasStatus_t cublas##letter##gemmStridedBatched(                        \
      cublasHandle_t handle, cublasOperation_t a_op, cublasOperation_t b_op, int m,      \
      int n, int k, const T*, const T* a, int lda, long long a_stride, const T* b,       \
      int ldb, long long b_stride, const T*, T* c, int ldc, long long c_stride,          \
      int batch) {                                                                       \
    return gemm("cublas" #letter "gemmStridedBatched", handle, a_op, b_op, m, n, k,      \
                {a, type, lda, a_stride}, {b, type, ldb, b_stride},                      \
                {c, type, ldc, c_stride}, batch);                                        \
  }                                                                                      \
  FAKE_GPU_API cublasStatus_t cublas##letter##gemv_v2(                                   \
      cublasHandle_t handle, cublasOperation_t a_op, int rows, int columns, const T*,    \
      const T* a, int lda, const T* x, int, const T*, T* y, int) {                       \
    const bool plain = a_op == CUBLAS_OP_N;                                              \
    const int m = plain ? rows : columns, k = plain ? columns : rows;                    \
    return gemm("cublas" #letter "gemv_v2", handle, a_op, CUBLAS_OP_N, m, 1, k,          \
                {a, type, lda}, {x, type, k}, {y, type, m});                             \
  }
FAKE_GPU_GEMM(S, float, CUDA_R_32F)
FAKE_GPU_GEMM(D, double, CUDA_R_64F)

FAKE_GPU_API cublasStatus_t cublasDotEx(cublasHandle_t handle, int n, const void* x,
                                        cudaDataType x_type, int, const void* y,
                                        cudaDataType y_type, int, void* result,
                                        cudaDataType result_type, cudaDataType) {
  return gemm("cublasDotEx", handle, CUBLAS_OP_T, CUBLAS_OP_N, 1, 1, n, {x, x_type, n},
              {y, y_type, n}, {result, result_type, 1});
}
FAKE_GPU_API cublasStatus_t cublasSdot_v2(cublasHandle_t handle, int n, const float* x,
                                          int x_step, const float* y, int y_step,
                                          float* result) {
  return cublasDotEx(handle, n, x, CUDA_R_32F, x_step, y, CUDA_R_32F, y_step, result,
                     CUDA_R_32F, CUDA_R_32F);
}
FAKE_GPU_API cublasStatus_t cublasDdot_v2(cublasHandle_t handle, int n, const double* x,
                                          int x_step, const double* y, int y_step,
                                          double* result) {
  return cublasDotEx(handle, n, x, CUDA_R_64F, x_step, y, CUDA_R_64F, y_step, result,
                     CUDA_R_64F, CUDA_R_64F);
}

}  // namespace lowmem::fake_gpu
