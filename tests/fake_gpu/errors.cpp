// The last error of a thread, and the list of refused calls.
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "fake_gpu/fake.h"

namespace lowmem::fake_gpu {
namespace {

thread_local cudaError_t last_error = cudaSuccess;

struct Name {
  cudaError_t error;
  const char* name;
  const char* meaning;
};
constexpr Name kNames[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration",
     "invalid configuration argument"},
    {cudaErrorInvalidDeviceFunction, "cudaErrorInvalidDeviceFunction",
     "invalid device function"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle",
     "invalid resource handle"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress",
     "an illegal memory access was encountered"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorNotSupported, "cudaErrorNotSupported", "operation not supported"},
    {cudaErrorIllegalState, "cudaErrorIllegalState",
     "the operation cannot be performed in the present state"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
     "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated",
     "operation failed due to a previous error during capture"},
    {cudaErrorStreamCaptureMerge, "cudaErrorStreamCaptureMerge",
     "operation would result in a merge of separate capture sequences"},
    {cudaErrorStreamCaptureUnjoined, "cudaErrorStreamCaptureUnjoined",
     "capturing stream has unjoined work"},
    {cudaErrorStreamCaptureIsolation, "cudaErrorStreamCaptureIsolation",
     "dependency created on uncaptured work in another stream"},
    {cudaErrorStreamCaptureImplicit, "cudaErrorStreamCaptureImplicit",
     "operation would make the legacy stream depend on a capturing blocking stream"},
    {cudaErrorCapturedEvent, "cudaErrorCapturedEvent",
     "operation not permitted on an event last recorded in a capturing stream"},
};

const Name* find(cudaError_t error) {
  for (const Name& name : kNames)
    if (name.error == error) return &name;
  return nullptr;
}

}  // namespace

std::recursive_mutex& mutex() {
  static auto* one = new std::recursive_mutex;  // outlives whatever runs at exit
  return *one;
}

unsigned long long setting(const char* name) {
  const char* value = getenv(name);
  return value == nullptr ? 0 : strtoull(value, nullptr, 10);
}

cudaError_t fail(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

cudaError_t refuse(const char* call, cudaError_t error, const std::string& why) {
  note_refused(call, why);
  return fail(error);
}

FAKE_GPU_API cudaError_t cudaGetLastError() {
  return std::exchange(last_error, cudaSuccess);
}
FAKE_GPU_API cudaError_t cudaPeekAtLastError() { return last_error; }
FAKE_GPU_API const char* cudaGetErrorName(cudaError_t error) {
  const Name* found = find(error);
  return found == nullptr ? "an error the fake GPU does not name" : found->name;
}
FAKE_GPU_API const char* cudaGetErrorString(cudaError_t error) {
  const Name* found = find(error);
  return found == nullptr ? "an error the fake GPU does not name" : found->meaning;
}

}  // namespace lowmem::fake_gpu
