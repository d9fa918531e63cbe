// Functions that LibTorch may look up and a training run does not call. Each says so when
// it is called after all, and fails; without it the real library would be reached, with
// handles that are not its own.
//
// Declared without parameters: no header of CUDA's is included here.
#define FAKE_GPU_API extern "C" __attribute__((visibility("default")))

#include <string>

namespace lowmem::fake_gpu {

void note_refused(const char* call, const std::string& why);

#define FAKE_GPU_UNSUPPORTED(name, status)                  \
  FAKE_GPU_API int name() {                                 \
    note_refused(#name, "the fake GPU does not have this"); \
    return status;                                          \
  }
#define RUNTIME(name) FAKE_GPU_UNSUPPORTED(name, 801)  // cudaErrorNotSupported
#define DRIVER(name) FAKE_GPU_UNSUPPORTED(name, 801)   // CUDA_ERROR_NOT_SUPPORTED
#define CUBLAS(name) FAKE_GPU_UNSUPPORTED(name, 15)    // CUBLAS_STATUS_NOT_SUPPORTED

RUNTIME(cudaDeviceEnablePeerAccess)
RUNTIME(cudaDeviceGetDefaultMemPool)
RUNTIME(cudaDeviceReset)
RUNTIME(cudaFreeAsync)
RUNTIME(cudaGraphDebugDotPrint)
RUNTIME(cudaGraphExecUpdate)
RUNTIME(cudaGraphNodeGetDependencies)
RUNTIME(cudaIpcCloseMemHandle)
RUNTIME(cudaIpcGetEventHandle)
RUNTIME(cudaIpcGetMemHandle)
RUNTIME(cudaIpcOpenEventHandle)
RUNTIME(cudaIpcOpenMemHandle)
RUNTIME(cudaMallocAsync)
RUNTIME(cudaMallocManaged)
RUNTIME(cudaMemcpy2DAsync)
RUNTIME(cudaMemcpyPeerAsync)
RUNTIME(cudaMemPoolGetAttribute)
RUNTIME(cudaMemPoolSetAccess)
RUNTIME(cudaMemPoolSetAttribute)
RUNTIME(cudaMemPoolTrimTo)
RUNTIME(cudaMemPrefetchAsync)

DRIVER(cuGetProcAddress)  // how the real runtime begins: a function of it is missing here
DRIVER(cuGetProcAddress_v2)
DRIVER(cuFuncGetAttribute)
DRIVER(cuFuncSetAttribute)
DRIVER(cuFuncSetCacheConfig)
DRIVER(cuLaunchCooperativeKernel)
DRIVER(cuLaunchKernel)
DRIVER(cuLinkAddData_v2)
DRIVER(cuLinkComplete)
DRIVER(cuLinkCreate_v2)
DRIVER(cuMemExportToShareableHandle)
DRIVER(cuMemGetAllocationPropertiesFromHandle)
DRIVER(cuMemImportFromShareableHandle)
DRIVER(cuMemRetainAllocationHandle)
DRIVER(cuMemsetD32Async)
DRIVER(cuModuleGetFunction)
DRIVER(cuModuleLoad)
DRIVER(cuModuleLoadData)
DRIVER(cuModuleLoadDataEx)
DRIVER(cuModuleUnload)
DRIVER(cuOccupancyMaxActiveBlocksPerMultiprocessor)
DRIVER(cuPointerGetAttribute)
DRIVER(cuStreamWriteValue32)
DRIVER(cuTensorMapEncodeTiled)

CUBLAS(cublasCdotc_v2)
CUBLAS(cublasCdotu_v2)
CUBLAS(cublasCgelsBatched)
CUBLAS(cublasCgemm_v2)
CUBLAS(cublasCgemmStridedBatched)
CUBLAS(cublasCgemv_v2)
CUBLAS(cublasCgeqrfBatched)
CUBLAS(cublasCgetrfBatched)
CUBLAS(cublasCgetrsBatched)
CUBLAS(cublasCtrsm_v2)
CUBLAS(cublasCtrsmBatched)
CUBLAS(cublasDgelsBatched)
CUBLAS(cublasDgeqrfBatched)
CUBLAS(cublasDgetrfBatched)
CUBLAS(cublasDgetrsBatched)
CUBLAS(cublasDtrsm_v2)
CUBLAS(cublasDtrsmBatched)
CUBLAS(cublasSgelsBatched)
CUBLAS(cublasSgeqrfBatched)
CUBLAS(cublasSgetrfBatched)
CUBLAS(cublasSgetrsBatched)
CUBLAS(cublasStrsm_v2)
CUBLAS(cublasStrsmBatched)
CUBLAS(cublasZdotc_v2)
CUBLAS(cublasZdotu_v2)
CUBLAS(cublasZgelsBatched)
CUBLAS(cublasZgemm_v2)
CUBLAS(cublasZgemmStridedBatched)
CUBLAS(cublasZgemv_v2)
CUBLAS(cublasZgeqrfBatched)
CUBLAS(cublasZgetrfBatched)
CUBLAS(cublasZgetrsBatched)
CUBLAS(cublasZtrsm_v2)
CUBLAS(cublasZtrsmBatched)

}  // namespace lowmem::fake_gpu
