// The emulated GPU itself.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "emulation/sanitizer.h"
#include "kernels/device_writer.h"

namespace lowmem::kernels::emulated {
namespace {

// What run() throws, "" if nothing.
std::string failure_of(const std::function<void()>& run) {
  try {
    run();
  } catch (const emulation::Failure& failure) {
    return failure.what();
  }
  return "";
}

void write_place(int* places) {
  places[grid_thread()] = static_cast<int>(blockIdx.x * 1000 + threadIdx.x);
}

TEST(Emulator, RunsEachThreadOfEachBlockOnce) {
  std::vector<int> places(5 * 33, -1);
  launch(write_place, 5, 33, nullptr, places.data());
  for (int i = 0; i < 5 * 33; ++i)
    EXPECT_EQ(places[static_cast<size_t>(i)], i / 33 * 1000 + i % 33);
}

TEST(Emulator, RunsNothingWithoutBlocks) {
  launch(write_place, 0, 32, nullptr, static_cast<int*>(nullptr));
}

TEST(Emulator, RefusesSizesThatNoGpuTakes) {
  const auto start = [](int64_t blocks, int threads) {
    return failure_of([&] {
      launch(write_place, blocks, threads, nullptr, static_cast<int*>(nullptr));
    });
  };
  EXPECT_NE(start(1, 1025), "");
  EXPECT_NE(start(1, 0), "");
  EXPECT_NE(start(int64_t{1} << 31, 32), "");
}

// Thread i reads what its neighbour wrote.
void rotate(bool with_barrier, int* out) {
  LOWMEM_BLOCK_ARRAY(int, numbers, 64);
  const int own = static_cast<int>(threadIdx.x);
  numbers[own] = own;
  if (with_barrier) __syncthreads();
  out[own] = numbers[(own + 1) % 64];
}

TEST(Emulator, BarrierWaitsForAllThreadsInAnyOrder) {
  for (const bool backwards : {false, true}) {
    const emulation::WithSettings order({.backwards = backwards});
    std::vector<int> out(64);
    launch(rotate, 1, 64, nullptr, true, out.data());
    for (int i = 0; i < 64; ++i) EXPECT_EQ(out[static_cast<size_t>(i)], (i + 1) % 64);
  }
}

TEST(Emulator, MissingBarrierShowsInTheOrderOfThreads) {
  std::vector<int> out(64), backwards(64);
  launch(rotate, 1, 64, nullptr, false, out.data());
  const emulation::WithSettings order({.backwards = true});
  launch(rotate, 1, 64, nullptr, false, backwards.data());
  EXPECT_NE(out, backwards);
}

void read_unwritten(float* out, bool write) {
  LOWMEM_BLOCK_ARRAY(float, numbers, 4);
  if (write) numbers[0] = 1;
  out[blockIdx.x] = numbers[0];
}

TEST(Emulator, SharedArraysAreNanInEachBlock) {
  float out[2] = {0, 0};
  launch(read_unwritten, 2, 1, nullptr, out, false);
  EXPECT_TRUE(std::isnan(out[0]) && std::isnan(out[1]));
  launch(read_unwritten, 2, 1, nullptr, out, true);
  EXPECT_EQ(out[1], 1);
}

enum class Divergence { kNone, kExit, kElsewhere, kSecondBarrier };

void diverge(Divergence how) {
  const bool odd = threadIdx.x == 37;
  if (how == Divergence::kExit && odd) return;
  if (how == Divergence::kElsewhere && odd)
    __syncthreads();
  else
    __syncthreads();
  if (how == Divergence::kSecondBarrier && odd) __syncthreads();
}

TEST(Emulator, FindsDivergentBarriers) {
  const auto run = [](Divergence how) {
    return failure_of([&] { launch(diverge, 1, 64, nullptr, how); });
  };
  EXPECT_EQ(run(Divergence::kNone), "");
  EXPECT_THAT(run(Divergence::kExit), testing::HasSubstr("thread 37 has ended"));
  EXPECT_THAT(run(Divergence::kElsewhere),
              testing::HasSubstr("thread 37 waits for its block at emulator_test.cpp"));
  EXPECT_THAT(run(Divergence::kSecondBarrier), testing::HasSubstr("divergent"));
  EXPECT_EQ(run(Divergence::kNone), "") << "a failure left something behind";
}

void shuffle(int* out) {
  const int own = static_cast<int>(threadIdx.x);
  int* to = out + own * 4;
  to[0] = __shfl_sync(kAllLanes, own, 5);
  to[1] = __shfl_xor_sync(kAllLanes, own, 3);
  to[2] = __shfl_down_sync(kAllLanes, own, 30);
  to[3] = static_cast<int>(__ballot_sync(kAllLanes, own % 32 < 3));
  __syncwarp();
}

TEST(Emulator, LanesOfAWarpExchangeNumbers) {
  std::vector<int> out(64 * 4);
  launch(shuffle, 1, 64, nullptr, out.data());
  for (int i = 0; i < 64; ++i) {
    const int first = i / 32 * 32, lane = i % 32;
    const int* got = out.data() + i * 4;
    EXPECT_EQ(got[0], first + 5);
    EXPECT_EQ(got[1], first + (lane ^ 3));
    EXPECT_EQ(got[2], lane + 30 < 32 ? i + 30 : i);
    EXPECT_EQ(got[3], 0b111);
  }
}

void shuffle_low_half(double* out) {
  constexpr uint32_t kHalf = 0xffff;
  if (threadIdx.x < 16) out[threadIdx.x] = __shfl_xor_sync(kHalf, 0.5 * threadIdx.x, 1);
}

TEST(Emulator, PartOfAWarpMayExchangeNumbers) {
  double out[16];
  launch(shuffle_low_half, 1, 32, nullptr, out);
  for (unsigned i = 0; i < 16; ++i) EXPECT_EQ(out[i], 0.5 * (i ^ 1));
}

void shuffle_wrongly(uint32_t mask, int lanes, bool some_leave) {
  if (some_leave && threadIdx.x == 3) return;
  __shfl_xor_sync(mask, 1, lanes);
}

TEST(Emulator, FindsShufflesThatDoNotAddUp) {
  const auto run = [](int threads, uint32_t mask, int lanes, bool some_leave) {
    return failure_of(
        [&] { launch(shuffle_wrongly, 1, threads, nullptr, mask, lanes, some_leave); });
  };
  EXPECT_EQ(run(32, kAllLanes, 1, false), "");
  EXPECT_THAT(run(32, kAllLanes, 1, true), testing::HasSubstr("thread 3 has ended"));
  EXPECT_THAT(run(32, 0xffff, 1, false), testing::HasSubstr("not of the lanes"));
  EXPECT_THAT(run(16, 0xffff, 16, false), testing::HasSubstr("takes no part"));
  EXPECT_THAT(run(16, kAllLanes, 1, false), testing::HasSubstr("not a whole warp"));
}

void sum_numbers(const double* numbers, double* sums, float* largest) {
  const double x = numbers[threadIdx.x];
  sums[threadIdx.x] = block_sum(x);
  largest[threadIdx.x] = block_largest(static_cast<float>(x));
}

TEST(Emulator, BlockSumsAreTheSameInEachThread) {
  for (const int threads : {32, 64, 256}) {
    const auto count = static_cast<size_t>(threads);
    std::vector<double> numbers(count), sums(count);
    std::vector<float> largest(count);
    for (size_t i = 0; i < count; ++i) numbers[i] = static_cast<double>(i * i % 97);
    launch(sum_numbers, 1, threads, nullptr, numbers.data(), sums.data(), largest.data());
    double want = 0;
    for (const double x : numbers) want += x;
    EXPECT_EQ(sums, std::vector<double>(count, want));
    EXPECT_EQ(largest, std::vector<float>(count, static_cast<float>(*std::max_element(
                                                     numbers.begin(), numbers.end()))));
  }
}

void write_shared(int64_t at) {
  LOWMEM_BLOCK_ARRAY(float, numbers, 33);
  float* to = numbers;
  to[at] = 1;
}
void read_shared(int64_t at, float* out) {
  LOWMEM_BLOCK_ARRAY(float, numbers, 33);
  const float* from = numbers;
  *out = from[at];
}

TEST(Emulator, StaysQuietInsideASharedArray) {
  for (const int64_t at : {0, 32})
    EXPECT_EQ(failure_of([&] { launch(write_shared, 1, 1, nullptr, at); }), "");
}

TEST(EmulatorDeathTest, FindsWritesOutsideOfASharedArray) {
  for (const int64_t at : {int64_t{-1}, int64_t{33}}) {
    const auto write = [&] { launch(write_shared, 1, 1, nullptr, at); };
    if (emulation::sanitizer::kActive)
      EXPECT_DEATH(write(), "use-after-poison");
    else
      EXPECT_THAT(failure_of(write), testing::HasSubstr("outside of an array"));
  }
}

TEST(EmulatorDeathTest, TheSanitizerFindsReadsToo) {
  if (!emulation::sanitizer::kActive) GTEST_SKIP() << "built without the sanitizer";
  float out = 0;
  for (const int64_t at : {int64_t{-1}, int64_t{33}})
    EXPECT_DEATH(launch(read_shared, 1, 1, nullptr, at, &out), "use-after-poison");
}

void throw_something() {
  if (threadIdx.x == 1) throw std::logic_error("of a kernel");
  __syncthreads();
}

TEST(Emulator, ExceptionsLeaveTheLaunch) {
  EXPECT_THROW(launch(throw_something, 1, 4, nullptr), std::logic_error);
}

void draw_noise(Noise noise, int64_t first, uint16_t* out) {
  const int64_t i = 8 * static_cast<int64_t>(threadIdx.x);
  const Bits bits = noise_of(noise, first + i);
  for (int k = 0; k < 8; ++k) out[i + k] = bits.at[k];
}

TEST(Emulator, NoiseIsThatOfTheCpuInEveryBit) {
  const Noise noise{.seed = 0xfedcba9876543210, .step = 0x80000003, .parameter = 41};
  for (const int64_t first : {int64_t{0}, int64_t{1} << 35}) {
    std::vector<uint16_t> got(512);
    launch(draw_noise, 1, 64, nullptr, noise, first, got.data());
    Noise::Block block;
    for (size_t i = 0; i < got.size(); ++i)
      ASSERT_EQ(got[i], noise.at(first + static_cast<int64_t>(i), block));
  }
}

}  // namespace
}  // namespace lowmem::kernels::emulated
