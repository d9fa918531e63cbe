#include "lowmem/memory/meter.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <sys/sysinfo.h>

#include <set>
#include <string>
#include <thread>

#include "io/error_of.h"

namespace lowmem::memory {
namespace {

constexpr int64_t kBytes = 4'000'000;
at::Tensor block(int64_t bytes = kBytes) { return at::empty({bytes}, at::kByte); }

class Meter : public testing::Test {
 protected:
  void SetUp() override {
    install();
    device_ledger().reset_peaks();
    before = device_ledger().current();
  }
  static int64_t peak_of(Phase phase) {
    return device_ledger().by_phase()[static_cast<size_t>(phase)];
  }
  int64_t before = 0;
};

TEST_F(Meter, CountsTheBytesOfTensorsThatLive) {
  at::Tensor a = block();
  EXPECT_EQ(device_ledger().current(), before + kBytes);
  const at::Tensor view = a.slice(0, 0, 10);
  a.reset();
  EXPECT_EQ(device_ledger().current(), before + kBytes);
}

TEST_F(Meter, RefusesWhatTheMachineCannotHold) {
  struct sysinfo machine {};
  sysinfo(&machine);
  const auto all =
      static_cast<int64_t>((machine.totalram + machine.totalswap) * machine.mem_unit);
  const Error error = test::error_of([&] { block(all + 1); });
  EXPECT_EQ(error.thing(), "memory");
  EXPECT_NE(error.remedy().find("fewer rows"), std::string::npos);
  EXPECT_EQ(device_ledger().current(), before);
  block();  // and goes on
}

TEST_F(Meter, EndsWhereItBegan) {
  { const at::Tensor a = block(), b = block(1), c = block(0); }
  EXPECT_EQ(device_ledger().current(), before);
  EXPECT_EQ(device_ledger().peak(), before + kBytes + 1);
}

TEST_F(Meter, ThePeakSurvivesTheTensorsUntilItIsReset) {
  { const at::Tensor a = block(), b = block(); }
  { const at::Tensor a = block(); }
  EXPECT_EQ(device_ledger().peak(), before + 2 * kBytes);
  device_ledger().reset_peaks();
  EXPECT_EQ(device_ledger().peak(), before);
}

TEST_F(Meter, TakePeakIsTheHighestSinceTheLastCall) {
  { const at::Tensor a = block(), b = block(); }
  EXPECT_EQ(device_ledger().take_peak(), before + 2 * kBytes);
  { const at::Tensor a = block(); }
  EXPECT_EQ(device_ledger().take_peak(), before + kBytes);
  EXPECT_EQ(device_ledger().take_peak(), before);
  EXPECT_EQ(device_ledger().peak(), before + 2 * kBytes);
}

TEST_F(Meter, AttributesAPeakToTheInnermostPhase) {
  {
    const Scope forward(Phase::kForward);
    const at::Tensor a = block();
    {
      const Scope update(Phase::kUpdate);
      const at::Tensor b = block(), c = block();
    }
    const at::Tensor d = block(10);
  }
  EXPECT_EQ(peak_of(Phase::kForward), before + kBytes + 10);
  EXPECT_EQ(peak_of(Phase::kUpdate), before + 3 * kBytes);
  EXPECT_EQ(peak_of(Phase::kEvaluate), 0);
}

TEST_F(Meter, KeepsTheHighestOfAPhasesOccurrences) {
  for (const int64_t bytes : {int64_t{100}, kBytes, int64_t{200}}) {
    const Scope backward(Phase::kBackward);
    const at::Tensor a = block(bytes);
  }
  EXPECT_EQ(peak_of(Phase::kBackward), before + kBytes);
}

TEST_F(Meter, CountsWhatOtherThreadsTake) {
  at::Tensor a;
  std::thread([&] { a = block(); }).join();
  EXPECT_EQ(device_ledger().current(), before + kBytes);
  std::thread([&] { a.reset(); }).join();
  EXPECT_EQ(device_ledger().current(), before);
}

TEST_F(Meter, FurtherInstallationsDoNothing) {
  install();
  const at::Tensor a = block();
  EXPECT_EQ(device_ledger().current(), before + kBytes);
}

TEST_F(Meter, ResidentSizeIsAtMostItsPeak) {
  const at::Tensor a = block(64'000'000).fill_(1);
  const int64_t now = resident_bytes();
  EXPECT_GE(now, 64'000'000);
  // The system counts both in pages, lazily.
  EXPECT_GE(peak_resident_bytes(), now - 1'000'000);
}

TEST(PhaseName, DiffersForEachPhase) {
  std::set<std::string> names;
  for (size_t i = 0; i < kPhases; ++i) names.insert(phase_name(static_cast<Phase>(i)));
  EXPECT_EQ(names.size(), kPhases);
  EXPECT_FALSE(names.contains(""));
}

}  // namespace
}  // namespace lowmem::memory
