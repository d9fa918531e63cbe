// Kernels: programs register them by name before main(), and launch them by address.
#include <cxxabi.h>

#include <cstdlib>
#include <map>
#include <vector>

#include "fake_gpu/fake.h"

namespace lowmem::fake_gpu {
namespace {

constexpr size_t kLongestName = 120;

struct Kernel {
  std::string name;              // demangled on first launch
  std::vector<bool> is_pointer;  // by parameter
  bool is_known = false;
  size_t most_shared = kSharedMemory;  // dynamic shared memory of a block
};
std::map<const void*, Kernel>& kernels() {
  static auto* all = new std::map<const void*, Kernel>;
  return *all;
}

// "void a::f<int>(float const*, long)" becomes "a::f<int>", and its parameters.
// LibTorch's names, with their templates' arguments, are cut: they may be pages long.
void know(Kernel& kernel) {
  if (kernel.is_known) return;
  kernel.is_known = true;
  int status = 0;
  char* demangled = abi::__cxa_demangle(kernel.name.c_str(), nullptr, nullptr, &status);
  const std::string text = demangled == nullptr ? kernel.name : demangled;
  free(demangled);
  // The parameter list begins at the last parenthesis that the final one closes.
  size_t open = text.size();
  int depth = 0;
  for (size_t i = text.size(); i-- > 0 && open == text.size();) {
    if (text[i] == ')') ++depth;
    if (text[i] == '(' && --depth == 0) open = i;
  }
  std::string name = text.substr(0, open);
  if (name.rfind("void ", 0) == 0) name = name.substr(5);
  for (const std::string namespaces : {"at::native::", "(anonymous namespace)::"})
    for (size_t at = 0; (at = name.find(namespaces)) != std::string::npos;)
      name.erase(at, namespaces.size());
  kernel.name = name.substr(0, kLongestName);
  int brackets = 0;
  std::string parameter;
  for (size_t i = open + 1; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '<' || c == '(') ++brackets;
    if (c == '>' || (c == ')' && i + 1 < text.size())) --brackets;
    if (brackets == 0 && (c == ',' || i + 1 == text.size())) {
      kernel.is_pointer.push_back(!parameter.empty() && parameter.back() == '*');
      parameter.clear();
    } else {
      parameter += c;
    }
  }
}

// Pointers that are parameters by themselves must be the GPU's; those inside structs
// cannot be seen.
std::string wrong_argument(const Kernel& kernel, void** arguments) {
  for (size_t i = 0; i < kernel.is_pointer.size() && arguments != nullptr; ++i) {
    if (!kernel.is_pointer[i]) continue;
    const void* address = *static_cast<void**>(arguments[i]);
    if (address != nullptr && kind_of(address) == MemoryKind::kPageable)
      return "argument " + std::to_string(i + 1) + " is not memory of the GPU";
  }
  return "";
}

cudaError_t launch(const void* function, dim3 grid, dim3 block, void** arguments,
                   size_t shared, cudaStream_t stream) {
  FAKE_GPU_LOCK;
  const auto found = kernels().find(function);
  if (found == kernels().end())
    return refuse("a launch", cudaErrorInvalidDeviceFunction, "no such kernel");
  Kernel& kernel = found->second;
  know(kernel);
  trace("launch %s, grid %u %u %u, block %u %u %u, stream %p", kernel.name.c_str(),
        grid.x, grid.y, grid.z, block.x, block.y, block.z, static_cast<void*>(stream));
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > 1024 || block.z > 64 || grid.x == 0 ||
      grid.x > 0x7fffffffu || grid.y == 0 || grid.y > 65535 || grid.z == 0 ||
      grid.z > 65535)
    return refuse(kernel.name.c_str(), cudaErrorInvalidConfiguration,
                  "a grid or block of a size that no GPU takes");
  if (shared > kernel.most_shared)
    return refuse(kernel.name.c_str(), cudaErrorInvalidValue,
                  "more shared memory than was asked for by cudaFuncSetAttribute");
  const std::string wrong = wrong_argument(kernel, arguments);
  if (!wrong.empty()) return refuse(kernel.name.c_str(), cudaErrorIllegalAddress, wrong);
  count_launch();
  Work work;
  work.kind = Work::Kind::kKernel;
  work.name = kernel.name;
  return put(kernel.name.c_str(), stream, std::move(work));
}

struct Configuration {
  dim3 grid, block;
  size_t shared;
  cudaStream_t stream;
};
thread_local Configuration pushed;

// A variable of device memory, by the host's address of its shadow.
struct Variable {
  size_t bytes;
  void* memory = nullptr;
};
std::map<const void*, Variable>& variables() {
  static auto* all = new std::map<const void*, Variable>;
  return *all;
}

}  // namespace

// Registering is what each file of device code does before main().
FAKE_GPU_API void** __cudaRegisterFatBinary(void*) {
  static void* handle[4];
  return handle;
}
FAKE_GPU_API void __cudaRegisterFatBinaryEnd(void**) {}
FAKE_GPU_API void __cudaUnregisterFatBinary(void**) {}
FAKE_GPU_API void __cudaRegisterFunction(void**, const char* function, char*,
                                         const char* name, int, uint3*, uint3*, dim3*,
                                         dim3*, int*) {
  FAKE_GPU_LOCK;
  kernels()[function].name = name;
}
FAKE_GPU_API void __cudaRegisterVar(void**, char* shadow, char*, const char*, int,
                                    size_t bytes, int, int) {
  FAKE_GPU_LOCK;
  variables()[shadow].bytes = bytes;
}

// f<<<grid, block, shared, stream>>>(...) pushes, and the stub that nvcc makes of f pops.
FAKE_GPU_API unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared,
                                                  cudaStream_t stream) {
  pushed = {grid, block, shared, stream};
  return 0;
}
FAKE_GPU_API cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block,
                                                    size_t* shared, void* stream) {
  *grid = pushed.grid;
  *block = pushed.block;
  *shared = pushed.shared;
  *static_cast<cudaStream_t*>(stream) = pushed.stream;
  return cudaSuccess;
}
FAKE_GPU_API cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* function) {
  *kernel = static_cast<cudaKernel_t>(const_cast<void*>(function));
  return cudaSuccess;
}
FAKE_GPU_API cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block,
                                            void** arguments, size_t shared,
                                            cudaStream_t stream) {
  return launch(kernel, grid, block, arguments, shared, stream);
}
FAKE_GPU_API cudaError_t cudaLaunchKernel(const void* function, dim3 grid, dim3 block,
                                          void** arguments, size_t shared,
                                          cudaStream_t stream) {
  return launch(function, grid, block, arguments, shared, stream);
}
FAKE_GPU_API cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config,
                                             const void* function, void** arguments) {
  return launch(function, config->gridDim, config->blockDim, arguments,
                config->dynamicSmemBytes, config->stream);
}

FAKE_GPU_API cudaError_t cudaFuncSetAttribute(const void* function,
                                              cudaFuncAttribute attribute, int value) {
  FAKE_GPU_LOCK;
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
  if (static_cast<size_t>(value) > kMostSharedMemory)
    return refuse("cudaFuncSetAttribute", cudaErrorInvalidValue,
                  "more shared memory than a block can have");
  kernels()[function].most_shared = static_cast<size_t>(value);
  return cudaSuccess;
}
FAKE_GPU_API cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes,
                                               const void*) {
  *attributes = {};
  attributes->maxThreadsPerBlock = 1024;
  attributes->numRegs = 32;
  attributes->ptxVersion = attributes->binaryVersion = 90;
  attributes->maxDynamicSharedSizeBytes = kSharedMemory;
  return cudaSuccess;
}
FAKE_GPU_API cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
    int* blocks, const void*, int threads, size_t, unsigned) {
  *blocks = 2048 / std::max(threads, 64);
  return cudaSuccess;
}
FAKE_GPU_API cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(
    int* blocks, const void* function, int threads, size_t shared) {
  return cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, function, threads,
                                                                shared, 0);
}

FAKE_GPU_API cudaError_t cudaGetSymbolAddress(void** address, const void* symbol) {
  FAKE_GPU_LOCK;
  const auto found = variables().find(symbol);
  if (found == variables().end())
    return refuse("cudaGetSymbolAddress", cudaErrorInvalidValue, "no such variable");
  Variable& variable = found->second;
  if (variable.memory == nullptr) {  // part of the program, not of the free memory
    variable.memory = calloc(1, variable.bytes);
    add_device_range(variable.memory, variable.bytes);
  }
  *address = variable.memory;
  return cudaSuccess;
}
FAKE_GPU_API cudaError_t cudaMemcpyToSymbol(const void* symbol, const void* from,
                                            size_t bytes, size_t offset,
                                            cudaMemcpyKind kind) {
  void* address = nullptr;
  if (const cudaError_t status = cudaGetSymbolAddress(&address, symbol)) return status;
  return cudaMemcpy(static_cast<char*>(address) + offset, from, bytes, kind);
}

}  // namespace lowmem::fake_gpu
