#include "lowmem/engine/memory_meter.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <sys/sysinfo.h>

#include <set>
#include <string>
#include <thread>

#include "io/error_of.h"

namespace lowmem::engine {
namespace {

constexpr int64_t kBytes = 4'000'000;
at::Tensor block(int64_t bytes = kBytes) { return at::empty({bytes}, at::kByte); }

class MemoryMeter : public testing::Test {
 protected:
  void SetUp() override {
    memory_meter::install();
    memory_meter::reset_peaks();
    before = memory_meter::current_bytes();
  }
  static int64_t peak_of(Phase phase) {
    return memory_meter::peaks_by_phase()[static_cast<size_t>(phase)];
  }
  int64_t before = 0;
};

TEST_F(MemoryMeter, CountsTheBytesOfTensorsThatLive) {
  at::Tensor a = block();
  EXPECT_EQ(memory_meter::current_bytes(), before + kBytes);
  const at::Tensor view = a.slice(0, 0, 10);
  a.reset();
  EXPECT_EQ(memory_meter::current_bytes(), before + kBytes);
}

TEST_F(MemoryMeter, RefusesWhatTheMachineCannotHold) {
  struct sysinfo machine {};
  sysinfo(&machine);
  const auto all =
      static_cast<int64_t>((machine.totalram + machine.totalswap) * machine.mem_unit);
  const Error error = test::error_of([&] { block(all + 1); });
  EXPECT_EQ(error.thing(), "memory");
  EXPECT_NE(error.remedy().find("train.batch_size"), std::string::npos);
  EXPECT_EQ(memory_meter::current_bytes(), before);
  block();  // and goes on
}

TEST_F(MemoryMeter, EndsWhereItBegan) {
  { const at::Tensor a = block(), b = block(1), c = block(0); }
  EXPECT_EQ(memory_meter::current_bytes(), before);
  EXPECT_EQ(memory_meter::peak_bytes(), before + kBytes + 1);
}

TEST_F(MemoryMeter, ThePeakSurvivesTheTensorsUntilItIsReset) {
  { const at::Tensor a = block(), b = block(); }
  { const at::Tensor a = block(); }
  EXPECT_EQ(memory_meter::peak_bytes(), before + 2 * kBytes);
  memory_meter::reset_peaks();
  EXPECT_EQ(memory_meter::peak_bytes(), before);
}

TEST_F(MemoryMeter, TakePeakIsTheHighestSinceTheLastCall) {
  { const at::Tensor a = block(), b = block(); }
  EXPECT_EQ(memory_meter::take_peak(), before + 2 * kBytes);
  { const at::Tensor a = block(); }
  EXPECT_EQ(memory_meter::take_peak(), before + kBytes);
  EXPECT_EQ(memory_meter::take_peak(), before);
  EXPECT_EQ(memory_meter::peak_bytes(), before + 2 * kBytes);
}

TEST_F(MemoryMeter, AttributesAPeakToTheInnermostPhase) {
  {
    const PhaseScope forward(Phase::kForward);
    const at::Tensor a = block();
    {
      const PhaseScope update(Phase::kUpdate);
      const at::Tensor b = block(), c = block();
    }
    const at::Tensor d = block(10);
  }
  EXPECT_EQ(peak_of(Phase::kForward), before + kBytes + 10);
  EXPECT_EQ(peak_of(Phase::kUpdate), before + 3 * kBytes);
  EXPECT_EQ(peak_of(Phase::kEvaluate), 0);
}

TEST_F(MemoryMeter, KeepsTheHighestOfAPhasesOccurrences) {
  for (const int64_t bytes : {int64_t{100}, kBytes, int64_t{200}}) {
    const PhaseScope backward(Phase::kBackward);
    const at::Tensor a = block(bytes);
  }
  EXPECT_EQ(peak_of(Phase::kBackward), before + kBytes);
}

TEST_F(MemoryMeter, CountsWhatOtherThreadsTake) {
  at::Tensor a;
  std::thread([&] { a = block(); }).join();
  EXPECT_EQ(memory_meter::current_bytes(), before + kBytes);
  std::thread([&] { a.reset(); }).join();
  EXPECT_EQ(memory_meter::current_bytes(), before);
}

TEST_F(MemoryMeter, FurtherInstallationsDoNothing) {
  memory_meter::install();
  const at::Tensor a = block();
  EXPECT_EQ(memory_meter::current_bytes(), before + kBytes);
}

TEST_F(MemoryMeter, ResidentSizeIsAtMostItsPeak) {
  const at::Tensor a = block(64'000'000).fill_(1);
  const int64_t now = memory_meter::resident_bytes();
  EXPECT_GE(now, 64'000'000);
  // The system counts both in pages, lazily.
  EXPECT_GE(memory_meter::peak_resident_bytes(), now - 1'000'000);
}

TEST(PhaseName, DiffersForEachPhase) {
  std::set<std::string> names;
  for (size_t i = 0; i < kPhases; ++i) names.insert(phase_name(static_cast<Phase>(i)));
  EXPECT_EQ(names.size(), kPhases);
  EXPECT_FALSE(names.contains(""));
}

}  // namespace
}  // namespace lowmem::engine
