// Weights that live on the disk: killed, cut short or out of room in the middle of a
// step, a run loses nothing but time, and ends with the bits of one that held them in
// memory.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/resource.h>

#include <random>

#include "fault/control_group.h"
#include "fault/runs.h"

namespace lowmem::test {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

class Streaming : public FaultyRuns {
 protected:
  static std::string streaming(const std::string& name, const std::string& more = "") {
    return run(name, "memory.weights=disk memory.ahead=0 " + more);
  }

  // The working file of the process: it has no name but this.
  static fs::path working_file(const Process& process) {
    const fs::path open = "/proc/" + std::to_string(process.pid()) + "/fd";
    std::error_code code;
    for (fs::directory_iterator at(open, code), end; !code && at != end;
         at.increment(code)) {
      std::error_code of_link;
      const std::string target = fs::read_symlink(at->path(), of_link).string();
      if (target.ends_with(" (deleted)") && target.starts_with(at_runs())) return *at;
    }
    return {};
  }
  static std::string at_runs() { return fs::canonical(folder()).string(); }
};

TEST_F(Streaming, KilledTwentyTimesItEndsWithTheSameBits) {
  std::mt19937 random(5);  // NOLINT: the same moments each time, as far as clocks allow
  int kills = 0;
  bool ended = true;
  for (int attempt = 0; kills < 20 && attempt < 80; ++attempt) {
    Process process(streaming("streamed") + (ended ? "run.overwrite=true" : "--resume"));
    std::this_thread::sleep_for(std::chrono::milliseconds(100 + random() % 900));
    process.send(SIGKILL);
    ended = process.status() != 128 + SIGKILL;
    if (ended) {
      ASSERT_EQ(process.status(), 0) << process.output();
      continue;
    }
    ++kills;
    // Nothing is left that could be taken for weights.
    std::error_code code;
    for (fs::directory_iterator at(folder_of("streamed").parent_path(), code), end;
         !code && at != end; at.increment(code))
      EXPECT_TRUE(at->is_directory()) << at->path();
  }
  EXPECT_EQ(kills, 20);
  // In memory again, and still the same.
  expect_exact_end("streamed");
}

TEST_F(Streaming, AWorkingFileCutShortIsOneErrorAndTheRunGoesOn) {
  Process process(streaming("cut", "train.max_steps=100000 train.epochs=100000 "));
  fs::path file;
  process.wait_until([&] {
    file = working_file(process);
    return !file.empty() && fs::exists(folder_of("cut") / "checkpoints/step-00000003");
  });
  ASSERT_FALSE(file.empty()) << process.output();
  const int descriptor = ::open(file.c_str(), O_RDWR);
  ASSERT_GE(descriptor, 0);
  EXPECT_EQ(::ftruncate(descriptor, 4096), 0);
  ::close(descriptor);
  expect_one_error(process, "working file");
  const Outcome outcome = run_program(streaming("cut") + "--resume");
  EXPECT_EQ(outcome.status, 0) << outcome.output;
}

TEST_F(Streaming, ADiskWithoutRoomForThemIsFoundBeforeAnythingIsLoaded) {
  Process process(streaming("no_room"), [] {
    const rlimit limit{1 << 16, 1 << 16};
    return ::setrlimit(RLIMIT_FSIZE, &limit) == 0;
  });
  EXPECT_EQ(process.status(), 1);
  EXPECT_THAT(process.output(), HasSubstr("working file"));
  EXPECT_THAT(process.output(), testing::Not(HasSubstr("loaded ")));
}

TEST_F(Streaming, ASlowDiskMakesItWaitAndChangesNoBit) {
  const ControlGroup group("blkio", {"io.max", "blkio.throttle.read_bps_device"});
  if (group.path().empty() || !slow_down(group, folder(), 48 << 20))
    GTEST_SKIP() << "this system lets no test slow a disk down";
  Process process(streaming("slow", "memory.kept=disk memory.activations=keep "),
                  [&] { return group.enter(); });
  EXPECT_EQ(process.status(), 0) << process.output();
  train::expect_equal_runs(whole(), folder_of("slow"));
  double waited = 0, took = 0;
  for (const auto& line : train::raw_lines_of(folder_of("slow"))) {
    waited += line.value("waited_seconds", 0.0);
    took += line.value("step_seconds", 0.0);
  }
  EXPECT_GT(waited, took / 4);
}

TEST_F(Streaming, AFolderThatIsNotThereIsNamed) {
  const Outcome outcome =
      run_program(streaming("nowhere", "memory.scratch=" + at("no/such/folder")));
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.output, HasSubstr("no/such/folder"));
}

}  // namespace
}  // namespace lowmem::test
