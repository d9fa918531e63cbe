// The fake GPU itself: what it does of CUDA's runtime, and what it refuses.
#include <cuda_runtime_api.h>
#include <gmock/gmock.h>

#include <cstring>
#include <functional>

#include "fake_gpu/read_report.h"
#include "lowmem/core/error.h"
#include "lowmem/kernels/norm.h"

namespace lowmem::test {
namespace {

using testing::HasSubstr;

class FakeGpu : public testing::Test {
 protected:
  void SetUp() override {
    LOWMEM_NEEDS_FAKE_GPU();
    ASSERT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
    ASSERT_EQ(cudaMalloc(&device, kBytes), cudaSuccess);
    ASSERT_EQ(cudaMallocHost(&pinned, kBytes), cudaSuccess);
  }
  void TearDown() override {
    if (!on_fake_gpu()) return;
    cudaFree(device);
    cudaFreeHost(pinned);
    cudaGetLastError();
  }

  // Reads eight bytes of the GPU, and waits for them.
  static uint64_t value_at(const void* address) {
    uint64_t value = 1;
    EXPECT_EQ(cudaMemcpy(&value, address, sizeof value, cudaMemcpyDeviceToHost),
              cudaSuccess);
    return value;
  }

  static constexpr size_t kBytes = 4096;
  cudaStream_t stream = nullptr;
  void *device = nullptr, *pinned = nullptr;
};

TEST_F(FakeGpu, HasMemoryThatReadsAsZeros) {
  char* large = nullptr;
  constexpr size_t kLarge = size_t{64} << 30;
  ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(&large), kLarge), cudaSuccess);
  EXPECT_EQ(value_at(large + kLarge / 2), 0u);
  EXPECT_EQ(cudaFree(large), cudaSuccess);
}

TEST_F(FakeGpu, GivesNoMoreMemoryThanItHas) {
  size_t free = 0, total = 0;
  ASSERT_EQ(cudaMemGetInfo(&free, &total), cudaSuccess);
  void* memory = nullptr;
  EXPECT_EQ(cudaMalloc(&memory, free + 1), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST_F(FakeGpu, DoesItsWorkNoEarlierThanTheHostWaits) {
  uint64_t* host = static_cast<uint64_t*>(pinned);
  host[0] = 7, host[1] = 0;
  cudaMemcpyAsync(device, &host[0], 8, cudaMemcpyHostToDevice, stream);
  cudaMemcpyAsync(&host[1], device, 8, cudaMemcpyDeviceToHost, stream);
  EXPECT_EQ(host[1], 0u);  // not yet
  host[0] = 8;             // too early: the copy has not read it
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  EXPECT_EQ(host[1], 8u);
}

TEST_F(FakeGpu, WaitsForAnEventAndForNothingAfterIt) {
  uint64_t* host = static_cast<uint64_t*>(pinned);
  host[0] = 7, host[1] = host[2] = 0;
  cudaEvent_t event = nullptr;
  cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
  cudaMemcpyAsync(device, &host[0], 8, cudaMemcpyHostToDevice, stream);
  cudaMemcpyAsync(&host[1], device, 8, cudaMemcpyDeviceToHost, stream);
  cudaEventRecord(event, stream);
  cudaMemcpyAsync(&host[2], device, 8, cudaMemcpyDeviceToHost, stream);
  EXPECT_EQ(cudaEventQuery(event), cudaErrorNotReady);
  EXPECT_EQ(cudaEventSynchronize(event), cudaSuccess);
  EXPECT_EQ(host[1], 7u);
  EXPECT_EQ(host[2], 0u);
  cudaEventDestroy(event);
}

TEST_F(FakeGpu, CountsCopiesOfPageableMemoryAsWaits) {
  uint64_t pageable = 1;
  const auto copy = [&](void* from) {
    return counted("/host_waits/count", [&] {
      cudaMemcpyAsync(device, from, 8, cudaMemcpyHostToDevice, stream);
    });
  };
  EXPECT_EQ(copy(&pageable), 1);
  EXPECT_EQ(copy(pinned), 0);
}

TEST_F(FakeGpu, RefusesAKernelThatIsGivenMemoryOfTheHost) {
  float on_host[4] = {};
  auto* on_gpu = static_cast<float*>(device);
  auto* sum = static_cast<double*>(device);
  const auto norm = [&](const float* of) {
    kernels::cuda::squared_norms({of, DType::kF32}, 0, 4, sum, stream);
  };
  EXPECT_GT(counted("/launches", [&] { norm(on_gpu); }), 0);
  EXPECT_THROW(norm(on_host), Error);
  EXPECT_THAT(fake_gpu_report()["refused"].back().get<std::string>(),
              HasSubstr("argument 1 is not memory of the GPU"));
}

class FakeGpuCapture : public FakeGpu {
 protected:
  // Captures what `body` puts on the stream; null where that is refused.
  cudaGraph_t capture(const std::function<void()>& body,
                      cudaError_t expected = cudaSuccess) {
    EXPECT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), cudaSuccess);
    body();
    cudaGraph_t graph = nullptr;
    EXPECT_EQ(cudaStreamEndCapture(stream, &graph), expected);
    return graph;
  }
};

TEST_F(FakeGpuCapture, IsReplayedByEachLaunch) {
  uint64_t* host = static_cast<uint64_t*>(pinned);
  cudaGraph_t graph =
      capture([&] { cudaMemcpyAsync(device, host, 8, cudaMemcpyHostToDevice, stream); });
  ASSERT_NE(graph, nullptr);
  EXPECT_EQ(value_at(device), 0u);  // capturing does nothing
  cudaGraphExec_t executable = nullptr;
  ASSERT_EQ(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
  for (const uint64_t value : {3, 4}) {
    *host = value;
    EXPECT_EQ(cudaGraphLaunch(executable, stream), cudaSuccess);
    EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
    EXPECT_EQ(value_at(device), value);
  }
  cudaGraphExecDestroy(executable);
  cudaGraphDestroy(graph);
}

TEST_F(FakeGpuCapture, IsBrokenByWhatCudaForbids) {
  cudaEvent_t before = nullptr;
  cudaEventCreate(&before);
  cudaEventRecord(before, stream);
  uint64_t pageable = 0;
  void* memory = nullptr;
  const std::pair<const char*, std::function<cudaError_t()>> forbidden[] = {
      {"cudaMalloc", [&] { return cudaMalloc(&memory, 8); }},
      {"cudaMallocHost", [&] { return cudaMallocHost(&memory, 8); }},
      {"cudaFree", [&] { return cudaFree(device); }},
      {"cudaStreamSynchronize", [&] { return cudaStreamSynchronize(stream); }},
      {"cudaDeviceSynchronize", [&] { return cudaDeviceSynchronize(); }},
      {"cudaEventQuery", [&] { return cudaEventQuery(before); }},
      {"cudaEventSynchronize", [&] { return cudaEventSynchronize(before); }},
      {"wait for an event before",
       [&] { return cudaStreamWaitEvent(stream, before, 0); }},
      {"event of the capture",
       [&] {
         cudaEvent_t inside = nullptr;
         cudaEventCreate(&inside);
         cudaEventRecord(inside, stream);
         return cudaEventQuery(inside);
       }},
      {"legacy stream", [&] { return cudaMemsetAsync(device, 0, 8, nullptr); }},
      {"cudaMemcpy",
       [&] { return cudaMemcpy(device, pinned, 8, cudaMemcpyHostToDevice); }},
      {"pageable memory", [&] {
         return cudaMemcpyAsync(device, &pageable, 8, cudaMemcpyHostToDevice, stream);
       }}};
  for (const auto& [name, call] : forbidden) {
    const size_t refused = refusals();
    cudaGraph_t graph = capture([&] { EXPECT_NE(call(), cudaSuccess) << name; },
                                cudaErrorStreamCaptureInvalidated);
    EXPECT_EQ(graph, nullptr) << name;
    EXPECT_GT(refusals(), refused) << name;
  }
  cudaEventDestroy(before);
}

TEST_F(FakeGpuCapture, AllowsUnsafeCallsInRelaxedMode) {
  void* memory = nullptr;
  cudaGraph_t graph = capture([&] {
    cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
    cudaThreadExchangeStreamCaptureMode(&mode);
    EXPECT_EQ(cudaMalloc(&memory, 8), cudaSuccess);
    cudaThreadExchangeStreamCaptureMode(&mode);
  });
  EXPECT_NE(graph, nullptr);
  cudaGraphDestroy(graph);
  cudaFree(memory);
}

TEST_F(FakeGpuCapture, TakesAnotherStreamInUntilItIsJoined) {
  cudaStream_t other = nullptr;
  cudaEvent_t fork = nullptr, join = nullptr;
  cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking);
  cudaEventCreate(&fork);
  cudaEventCreate(&join);
  const auto beside = [&](bool joined) {
    cudaEventRecord(fork, stream);
    cudaStreamWaitEvent(other, fork, 0);
    cudaMemsetAsync(device, 0, 8, other);
    cudaEventRecord(join, other);
    if (joined) cudaStreamWaitEvent(stream, join, 0);
  };
  cudaGraph_t graph = capture([&] { beside(true); });
  size_t nodes = 0;
  cudaGraphGetNodes(graph, nullptr, &nodes);
  EXPECT_EQ(nodes, 1u);
  cudaGraphDestroy(graph);
  EXPECT_EQ(capture([&] { beside(false); }, cudaErrorStreamCaptureUnjoined), nullptr);
  cudaEventDestroy(fork);
  cudaEventDestroy(join);
}

TEST_F(FakeGpuCapture, RefusesTheLegacyStream) {
  EXPECT_EQ(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeGlobal),
            cudaErrorStreamCaptureUnsupported);
}

}  // namespace
}  // namespace lowmem::test
