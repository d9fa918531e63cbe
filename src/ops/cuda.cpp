#include "lowmem/ops/cuda.h"

#include <ATen/Context.h>
#include <c10/core/AutogradState.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <string>

#include "lowmem/core/error.h"
#include "lowmem/core/units.h"
#include "lowmem/kernels/device_memory.h"

namespace lowmem::ops {
namespace {

// libtorch_cuda.so lies beside libtorch_cpu.so, which this program is linked to.
std::string cuda_library() {
  Dl_info library{};
  dladdr(reinterpret_cast<void*>(&at::globalContext), &library);
  return std::filesystem::path(library.dli_fname).parent_path() / "libtorch_cuda.so";
}

void set_unless_given(const char* name, const char* value) {
  setenv(name, value, /*overwrite=*/0);
}

// Buffers as :KiB:count, again and again.
constexpr const char* kWorkspaceVariable = "CUBLAS_WORKSPACE_CONFIG";
constexpr const char* kWorkspace = ":4096:2:16:8";

void load_libtorch_cuda() {
  // Segments that grow do not split memory into pieces that fit nothing.
  if (std::getenv("PYTORCH_CUDA_ALLOC_CONF") == nullptr)
    set_unless_given("PYTORCH_ALLOC_CONF", "expandable_segments:True");
  set_unless_given(kWorkspaceVariable, kWorkspace);
  const std::string path = cuda_library();
  if (dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL) == nullptr) {
    const char* reason = dlerror();
    throw Error(path, std::string("cannot be loaded (") + (reason ? reason : "") + ")",
                "Install LibTorch with CUDA (scripts/setup.sh --cuda), or set "
                "memory.device = cpu");
  }
}

// The least that device code is made for: sm_80.
constexpr int kLeastCapability = 8;

// What is in the way of a GPU, and what to do.
struct Obstacle {
  const char* what = nullptr;
  const char* remedy = nullptr;
};

Obstacle obstacle() {
  if (!kernels::built_with_cuda())
    return {"is not available: this lowmem-train was built for the CPU",
            "Build with -DLOWMEM_CUDA=ON, or set memory.device = cpu"};
  if (kernels::cuda_device_count() == 0)
    return {"is not available: no GPU with a driver was found",
            "Check nvidia-smi, or set memory.device = cpu, or leave it at auto"};
  if (kernels::cuda_capability(0) < kLeastCapability)
    return {
        "is not available: the GPU is older than compute capability 8.0, where this "
        "program's code for GPUs begins",
        "Set memory.device = cpu, or leave it at auto"};
  return {};
}

}  // namespace

bool has_gpu() { return obstacle().what == nullptr; }

c10::Device open_gpu() {
  if (const auto [what, remedy] = obstacle(); what != nullptr)
    throw Error("memory.device = cuda", what, remedy);
  static const c10::Device device = [] {
    load_libtorch_cuda();
    at::globalContext().lazyInitDevice(c10::kCUDA);
    const c10::Device first(c10::kCUDA, 0);
    const c10::impl::VirtualGuardImpl guard(c10::kCUDA);
    guard.setDevice(first);
    // A stream of its own, since the default one cannot be recorded into graphs.
    guard.exchangeStream(guard.getStreamFromGlobalPool(first));
    c10::AutogradState::get_tls_state().set_multithreading_enabled(false);
    at::Context& context = at::globalContext();
    // The formula never silently; cuDNN only where it is asked for, by another way.
    context.setSDPUseMath(false);
    context.setSDPUseCuDNN(false);
    context.setSDPUseOverrideable(false);
    // Sums of products in fp32 to the end.
    context.setAllowBF16ReductionCuBLAS(false);
    return first;
  }();
  return device;
}

int64_t cublas_workspace_bytes() {
  const char* given = std::getenv(kWorkspaceVariable);
  std::istringstream in(given != nullptr ? given : kWorkspace);
  int64_t bytes = 0, size = 0, count = 0;
  char colon = 0;
  while (in >> colon >> size >> colon >> count) bytes += size * count * kKiB;
  return bytes;
}

}  // namespace lowmem::ops
