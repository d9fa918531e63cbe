#include "fake_gpu/products.h"

namespace lowmem::fake_gpu {
namespace {

const char* name_of(cudaDataType type) {
  switch (type) {
    case CUDA_R_16BF:
      return "bf16";
    case CUDA_R_16F:
      return "fp16";
    case CUDA_R_32F:
      return "fp32";
    case CUDA_R_64F:
      return "fp64";
    default:
      return "other";
  }
}
size_t size_of(cudaDataType type) {
  switch (type) {
    case CUDA_R_16BF:
    case CUDA_R_16F:
      return 2;
    case CUDA_R_32F:
      return 4;
    case CUDA_R_64F:
      return 8;
    default:
      return 1;
  }
}

// Of a matrix stored with `rows` rows.
std::string wrong(const char* name, const Operand& operand, int64_t rows, int64_t columns,
                  int64_t batch) {
  if (operand.leading < std::max<int64_t>(1, rows))
    return std::string(name) + " has a leading dimension below its rows";
  const int64_t last = (batch - 1) * operand.stride + (columns - 1) * operand.leading;
  const size_t bytes = static_cast<size_t>(last + rows) * size_of(operand.type);
  if (!on_device(operand.data, bytes))
    return std::string(name) + " is not memory of the GPU, or ends beyond it";
  return "";
}

}  // namespace

cublasStatus_t put_product(const Product& p, cudaStream_t stream) {
  FAKE_GPU_LOCK;
  if (p.m == 0 || p.n == 0 || p.batch == 0) return CUBLAS_STATUS_SUCCESS;
  const bool a_plain = p.a_op == CUBLAS_OP_N, b_plain = p.b_op == CUBLAS_OP_N;
  std::string why;
  if (p.k != 0) {
    why = wrong("A", p.a, a_plain ? p.m : p.k, a_plain ? p.k : p.m, p.batch);
    if (why.empty())
      why = wrong("B", p.b, b_plain ? p.k : p.n, b_plain ? p.n : p.k, p.batch);
  }
  if (why.empty()) why = wrong("C", p.c, p.m, p.n, p.batch);
  Work work;
  work.kind = Work::Kind::kProduct;
  work.name = std::string(p.call) + " " + name_of(p.a.type) + (a_plain ? " N" : " T") +
              (b_plain ? "N " : "T ") + std::to_string(p.m) + "x" + std::to_string(p.n) +
              "x" + std::to_string(p.k);
  if (p.batch != 1) work.name += " times " + std::to_string(p.batch);
  work.flops = 2.0 * static_cast<double>(p.m) * static_cast<double>(p.n) *
               static_cast<double>(p.k) * static_cast<double>(p.batch);
  if (!why.empty()) {
    note_refused(work.name.c_str(), why);
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  trace("product %s, stream %p", work.name.c_str(), static_cast<void*>(stream));
  count_launch();
  const std::string name = work.name;
  return put(name.c_str(), stream, std::move(work)) == cudaSuccess
             ? CUBLAS_STATUS_SUCCESS
             : CUBLAS_STATUS_EXECUTION_FAILED;
}

}  // namespace lowmem::fake_gpu
