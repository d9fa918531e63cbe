// Two runs in one folder, and files that change under a run.
#include <gmock/gmock.h>

#include <random>

#include "fault/runs.h"

namespace lowmem::test {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

class Folder : public FaultyRuns {};

TEST_F(Folder, IsOneRunsAtATime) {
  Process first(run("shared"));
  ASSERT_TRUE(first.wait_for("step      4"));
  first.send(SIGSTOP);
  Process second(run("shared", "run.overwrite=true"));
  expect_one_error(second, "is in use by another run");
  Process third(run("shared") + "--resume");
  expect_one_error(third, "is in use by another run");
  first.send(SIGCONT);
  EXPECT_EQ(first.status(), 0) << first.output();
  train::expect_equal_runs(whole(), folder_of("shared"));
}

TEST_F(Folder, OfTwoThatBeginAtOnceOneIsRefused) {
  Process first(run("race")), second(run("race"));
  const int sum = first.status() + second.status();
  EXPECT_EQ(sum, 1) << first.output() << second.output();
  train::expect_equal_runs(whole(), folder_of("race"));
}

TEST_F(Folder, IsFreeAgainAfterAKill) {
  Process killed(run("freed"));
  ASSERT_TRUE(killed.wait_for("step      4"));
  killed.send(SIGKILL);
  killed.status();
  expect_exact_end("freed");
}

// Weights cut short while they are read, at any moment.
TEST_F(Folder, WeightsCutShortWhileTheyAreReadAreAnError) {
  std::mt19937 random(5);  // NOLINT: the same moments each time
  const fs::path model = folder() / "cut";
  int errors = 0;
  for (int attempt = 0; attempt < 12; ++attempt) {
    fs::remove_all(model);
    fs::copy(folder() / "model", model);
    Process process(quick("cut") + "run.overwrite=true model.path=" + model.string());
    std::this_thread::sleep_for(std::chrono::milliseconds(random() % 600));
    fs::resize_file(model / "model.safetensors", 5000);
    if (process.status() == 0) continue;
    ++errors;
    expect_one_error(process, "model.safetensors");
  }
  EXPECT_GT(errors, 0);
}

}  // namespace
}  // namespace lowmem::test
