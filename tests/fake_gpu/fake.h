#pragma once

// A pretended GPU, as a library to be loaded before the real CUDA runtime (LD_PRELOAD).
// README.md says what it shows and what it cannot. This header is what its files share.

#include <cuda_runtime_api.h>

#include <cstdint>
#include <functional>
#include <mutex>
#include <string>

#define FAKE_GPU_API extern "C" __attribute__((visibility("default")))

namespace lowmem::fake_gpu {

// Held by every call of the CUDA runtime. Recursive: such calls use one another.
std::recursive_mutex& mutex();
#define FAKE_GPU_LOCK const std::lock_guard<std::recursive_mutex> lock(mutex())

// --- work.cpp: streams, and what is put on them ---

// Something a stream does. Kernels and products are only counted.
struct Work {
  enum class Kind { kKernel, kProduct, kCopy, kFill, kOther };
  Kind kind = Kind::kOther;
  std::string name = {};  // of a kernel, a product, a copy's direction
  double flops = 0;
  size_t bytes = 0;
  std::function<void()> run = {};  // empty: nothing to be done
};

struct Capture;

// A stream does its work as late as the host allows: when the host waits for it. Who
// reads a result without waiting, or overwrites a source too early, gets wrong numbers.
struct Stream;
Stream& stream_of(cudaStream_t handle);  // null and cudaStreamLegacy: the legacy stream

// Puts work on a stream, or into the graph that the stream is captured into.
cudaError_t put(const char* call, cudaStream_t stream, Work work);

// The host waits for a stream, or for all of them.
cudaError_t wait_for_stream(const char* call, cudaStream_t stream);
cudaError_t wait_for_device(const char* call);
// Lets all streams finish, as something that is no wait of the program's needs it.
void finish_all();

// The capture that the stream belongs to, or null.
Capture* capture_of(cudaStream_t stream);

// --- capture.cpp: graphs ---

// Whether `work` of `stream` was taken into a graph; `status` is what the call returns.
bool taken_by_capture(const char* call, cudaStream_t stream, Work& work,
                      cudaError_t* status);
// Refuses what captures forbid: the calls that cudaThreadExchangeStreamCaptureMode names
// unsafe (such as cudaMalloc), and that the host waits for a captured stream.
cudaError_t check_unsafe(const char* call);
cudaError_t check_wait(const char* call, const Stream* stream);  // null: for all
// Breaks a capture: what ends it will say so.
void invalidate(Capture* capture);

// --- memory.cpp ---

enum class MemoryKind { kPageable, kPinned, kDevice };
MemoryKind kind_of(const void* address);
// Whether all of [address, address + bytes) is memory of the GPU.
bool on_device(const void* address, size_t bytes);
// Takes from, or gives back to, the GPU's memory; false: it has not that much left.
bool take(size_t bytes);
void give_back(size_t bytes);
size_t total_bytes();
size_t free_bytes();
// Makes a range of addresses memory of the GPU, and no longer.
void add_device_range(void* address, size_t bytes);
void remove_device_range(void* address);

// --- device.cpp ---

int attribute(cudaDeviceAttr name);
constexpr size_t kSharedMemory = 48 << 10, kMostSharedMemory = 227 << 10;  // of a block

// --- report.cpp: what has been counted ---

void count(const Work& work);
void count_legacy_stream();  // work on the default stream, which waits for all others
void count_launch();         // a kernel or product that the host asked for by itself
void count_host_wait(const char* call);
void count_capture();
void count_graph_launch(size_t nodes);
void count_captured_host_copy();
void count_beside_capture();     // of a thread that captures, on another stream
void count_memory(size_t used);  // how much is taken from now on
void trace(const char* format, ...) __attribute__((format(printf, 1, 2)));

// --- errors.cpp ---

// Keeps `error` for cudaGetLastError and returns it.
cudaError_t fail(cudaError_t error);
// Likewise for what no correct program does: it is also reported, in `refused`.
cudaError_t refuse(const char* call, cudaError_t error, const std::string& why);
void note_refused(const char* call, const std::string& why);

// The value of an environment variable, or 0.
unsigned long long setting(const char* name);

}  // namespace lowmem::fake_gpu
