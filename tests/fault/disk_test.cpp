// A disk that is full, read-only or too small: one error, nothing damaged, and the run
// goes on once there is room.
#include <gmock/gmock.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "fault/runs.h"

namespace lowmem::test {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

// The largest file that the process may write.
std::function<bool()> file_limit(rlim_t bytes) {
  return [bytes] {
    const rlimit limit{bytes, bytes};
    return ::setrlimit(RLIMIT_FSIZE, &limit) == 0;
  };
}

class Disk : public FaultyRuns {
 protected:
  static int64_t bytes_of(const fs::path& file) {
    return static_cast<int64_t>(fs::file_size(file));
  }
};

TEST_F(Disk, TooSmallForACheckpoint) {
  const auto weights = bytes_of(whole() / "model/model.safetensors");
  Process process(run("no_checkpoint"), file_limit(static_cast<rlim_t>(weights / 2)));
  expect_one_error(process, "weights.safetensors");
  EXPECT_TRUE(partial_files("no_checkpoint").empty());
  expect_exact_end("no_checkpoint");
}

TEST_F(Disk, TooSmallForTheOptimizersPartOfACheckpoint) {
  const auto weights = bytes_of(whole() / "model/model.safetensors");
  Process process(run("no_averages"), file_limit(static_cast<rlim_t>(weights * 3 / 2)));
  expect_one_error(process, "optimizer.safetensors");
  EXPECT_TRUE(partial_files("no_averages").empty());
  expect_exact_end("no_averages");
}

TEST_F(Disk, TooSmallForTheModel) {
  const auto weights = bytes_of(whole() / "model/model.safetensors");
  Process process(run("no_model", "train.save_every=0"),
                  file_limit(static_cast<rlim_t>(weights / 2)));
  expect_one_error(process, "model.safetensors");
  EXPECT_FALSE(fs::exists(folder_of("no_model") / "model/model.safetensors"));
  EXPECT_FALSE(fs::exists(folder_of("no_model") / "results.json"));
  EXPECT_TRUE(partial_files("no_model").empty());
  expect_exact_end("no_model");
}

// Runs on a disk of `size` that only the process sees, where the system allows that.
class SmallDisk : public Disk {
 protected:
  static std::function<bool()> disk_of(const std::string& size) {
    const std::string place = at("runs");
    fs::create_directories(place);
    return [=] {
      if (::unshare(CLONE_NEWNS) != 0 && ::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
        return false;
      ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
      return ::mount("none", place.c_str(), "tmpfs", 0, ("size=" + size).c_str()) == 0;
    };
  }
};

TEST_F(SmallDisk, FillsWithCheckpoints) {
  const auto weights = bytes_of(whole() / "model/model.safetensors");
  Process process(run("full", "train.keep_checkpoints=0 memory.force=true"),
                  disk_of(std::to_string(10 * weights)));
  if (process.status() == Process::kNotPrepared)
    GTEST_SKIP() << "this system lets no test mount a disk";
  expect_one_error(process, "No space left on device");
  EXPECT_THAT(process.output(), HasSubstr("Free space on that disk"));
  EXPECT_THAT(process.output(), HasSubstr("to go on"));
}

TEST_F(SmallDisk, FillsWithMetrics) {
  Process process(quick("full") +
                      "train.max_steps=400 train.log_every=1 train.batch_size=1 "
                      "run.tensorboard=false memory.force=true",
                  disk_of("16k"));
  if (process.status() == Process::kNotPrepared)
    GTEST_SKIP() << "this system lets no test mount a disk";
  expect_one_error(process, "metrics.jsonl: cannot be written");
  EXPECT_THAT(process.output(), HasSubstr("No space left on device"));
}

TEST_F(SmallDisk, FillsWithEvents) {
  Process process(
      quick("full") +
          "train.max_steps=400 train.log_every=1 train.batch_size=1 memory.force=true",
      disk_of("16k"));
  if (process.status() == Process::kNotPrepared)
    GTEST_SKIP() << "this system lets no test mount a disk";
  expect_one_error(process, "events.out.tfevents");
  EXPECT_THAT(process.output(), HasSubstr("No space left on device"));
}

TEST_F(SmallDisk, HasNoRoomForTheModel) {
  const auto weights = bytes_of(whole() / "model/model.safetensors");
  Process process(quick("full") + "memory.force=true",
                  disk_of(std::to_string(weights / 2)));
  if (process.status() == Process::kNotPrepared)
    GTEST_SKIP() << "this system lets no test mount a disk";
  expect_one_error(process, "model.safetensors");
  EXPECT_THAT(process.output(), HasSubstr("No space left on device"));
}

TEST_F(SmallDisk, ThatCannotHoldTheResultIsFoundBeforeAnythingIsLoaded) {
  const auto weights = bytes_of(whole() / "model/model.safetensors");
  Process process(run("full", "train.keep_checkpoints=1"),
                  disk_of(std::to_string(3 * weights)));
  if (process.status() == Process::kNotPrepared)
    GTEST_SKIP() << "this system lets no test mount a disk";
  expect_one_error(process, "is on a disk with");
  EXPECT_THAT(process.output(), HasSubstr("2 checkpoints of"));
  EXPECT_THAT(process.output(), testing::Not(HasSubstr("loaded")));
}

// The superuser may write anywhere, unless it gives that right up.
bool obey_permissions() {
  return ::geteuid() != 0 || (::prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE) == 0 &&
                              ::prctl(PR_CAPBSET_DROP, CAP_DAC_READ_SEARCH) == 0);
}

TEST_F(Disk, ThatMayNotBeWrittenToIsFoundBeforeAnythingIsLoaded) {
  const fs::path runs = folder() / "readonly";
  fs::create_directories(runs);
  fs::permissions(runs, fs::perms::owner_read | fs::perms::owner_exec);
  Process process(run("x") + "run.dir=" + runs.string(), obey_permissions);
  if (process.status() == Process::kNotPrepared)
    GTEST_SKIP() << "this system does not let the superuser give up its rights";
  expect_one_error(process, runs.string() + ": cannot be written to");
  EXPECT_EQ(process.output().find("loaded"), std::string::npos) << process.output();
  fs::permissions(runs, fs::perms::owner_all);
}

// What cannot be seen is not taken for absent.
TEST_F(Disk, ThatHidesTheCheckpointsDoesNotCostTheRun) {
  const Outcome before = run_program(run("hidden"));
  ASSERT_EQ(before.status, 0) << before.output;
  const fs::path checkpoints = folder_of("hidden") / "checkpoints";
  fs::remove(folder_of("hidden") / "results.json");
  fs::permissions(checkpoints, fs::perms::none);
  Process process(run("hidden") + "--resume", obey_permissions);
  if (process.status() == Process::kNotPrepared)
    GTEST_SKIP() << "this system does not let the superuser give up its rights";
  expect_one_error(process, checkpoints.string() + ": cannot be read");
  fs::permissions(checkpoints, fs::perms::owner_all);
  EXPECT_TRUE(fs::exists(folder_of("hidden") / "model/model.safetensors"));
  expect_exact_end("hidden");
}

TEST_F(Disk, ThatBecomesReadOnlyStopsTheRunAndItGoesOn) {
  Process process(run("turned"), obey_permissions);
  ASSERT_TRUE(process.wait_for("step      4"));
  const fs::path checkpoints = folder_of("turned") / "checkpoints";
  fs::permissions(checkpoints, fs::perms::owner_read | fs::perms::owner_exec);
  if (process.status() == Process::kNotPrepared)
    GTEST_SKIP() << "this system does not let the superuser give up its rights";
  expect_one_error(process, "checkpoints");
  fs::permissions(checkpoints, fs::perms::owner_all);
  expect_exact_end("turned");
}

}  // namespace
}  // namespace lowmem::test
