// Killed without warning, at any moment, a run loses nothing but time.
#include <random>

#include "fault/runs.h"

namespace lowmem::test {
namespace {

class Killed : public FaultyRuns {
 protected:
  // Whether a checkpoint of the run `killed` is half written.
  static bool is_saving() {
    std::error_code code;
    for (std::filesystem::directory_iterator
             at(folder_of("killed") / "checkpoints", code),
         end;
         !code && at != end; at.increment(code))
      if (at->path().filename().string().starts_with(".step-")) return true;
    return false;
  }
};

TEST_F(Killed, AtTwentyRandomMomentsItEndsWithTheSameBits) {
  std::mt19937 random(11);  // NOLINT: the same moments each time, as far as clocks allow
  int kills = 0, while_saving = 0;
  bool ended = true;
  for (int attempt = 0; kills < 20 && attempt < 80; ++attempt) {
    // A run that ends before it is killed begins anew.
    Process process(run("killed") + (ended ? "run.overwrite=true" : "--resume"));
    // Every third inside a save, the others anywhere from start to end.
    const bool aimed = attempt % 3 == 2;
    if (aimed) {
      // What the kill before left is removed first.
      process.wait_until([] { return !is_saving(); });
      process.wait_until(is_saving);
      std::this_thread::sleep_for(std::chrono::microseconds(random() % 1500));
    } else {
      std::this_thread::sleep_for(std::chrono::milliseconds(random() % 900));
    }
    process.send(SIGKILL);
    ended = process.status() != 128 + SIGKILL;
    if (ended) {
      ASSERT_EQ(process.status(), 0) << process.output();
      continue;
    }
    ++kills;
    if (aimed && is_saving()) ++while_saving;
  }
  EXPECT_EQ(kills, 20);
  EXPECT_GT(while_saving, 0);
  expect_exact_end("killed");
  EXPECT_TRUE(partial_files("killed").empty());
}

TEST_F(Killed, WhileTheModelIsWrittenItIsWrittenAgain) {
  const std::string arguments = run("exported", "train.save_every=10");
  int while_exporting = 0;
  for (int attempt = 0; attempt < 20 && while_exporting == 0; ++attempt) {
    Process process(arguments + "run.overwrite=true");
    process.wait_until([] {
      return std::filesystem::exists(folder_of("exported") / "model/config.json");
    });
    process.send(SIGKILL);
    if (process.status() == 128 + SIGKILL &&
        !std::filesystem::exists(folder_of("exported") / "results.json"))
      ++while_exporting;
  }
  ASSERT_EQ(while_exporting, 1);
  const Outcome outcome = run_program(arguments + "--resume");
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  train::expect_equal_runs(whole(), folder_of("exported"));
}

TEST_F(Killed, WhileAnOldRunIsReplacedNothingOldIsMistakenForTheNew) {
  const Outcome before = run_program(run("replaced"));
  ASSERT_EQ(before.status, 0) << before.output;
  for (int attempt = 0; attempt < 4; ++attempt) {
    Process process(run("replaced") + "run.overwrite=true optimizer.lr=0.001");
    process.wait_until([] {
      return !std::filesystem::exists(folder_of("replaced") /
                                      "checkpoints/step-00000060");
    });
    process.send(SIGKILL);
    process.status();
  }
  const Outcome outcome =
      run_program(run("replaced") + "run.overwrite=true optimizer.lr=0.001 --resume");
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  EXPECT_EQ(train::lines_of(folder_of("replaced")).size(), 15u);
}

}  // namespace
}  // namespace lowmem::test
