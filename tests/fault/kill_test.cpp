// Killed without warning, at any moment, a run loses nothing but time.
#include <random>

#include "fault/runs.h"

namespace lowmem::test {
namespace {

class Killed : public FaultyRuns {};

TEST_F(Killed, AtTwentyRandomMomentsItEndsWithTheSameBits) {
  std::mt19937 random(11);  // NOLINT: the same moments each time, as far as clocks allow
  int kills = 0, while_saving = 0;
  bool ended = true;
  for (int attempt = 0; kills < 20 && attempt < 80; ++attempt) {
    // A run that ends before it is killed begins anew.
    Process process(run("killed") + (ended ? "run.overwrite=true" : "--resume"));
    // Every third inside a save, the others anywhere from start to end.
    if (attempt % 3 == 2) {
      process.wait_until([] {
        std::error_code code;
        for (std::filesystem::directory_iterator
                 at(folder_of("killed") / "checkpoints", code),
             end;
             at != end; at.increment(code))
          if (at->path().filename().string().starts_with(".step-")) return true;
        return false;
      });
      std::this_thread::sleep_for(std::chrono::microseconds(random() % 4000));
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
    if (!partial_files("killed").empty()) ++while_saving;
  }
  EXPECT_EQ(kills, 20);
  EXPECT_GT(while_saving, 3);
  expect_exact_end("killed");
  EXPECT_TRUE(partial_files("killed").empty());
}

TEST_F(Killed, WhileTheModelIsWrittenItIsWrittenAgain) {
  Process process(run("exported", "train.save_every=10"));
  process.wait_until([] {
    return std::filesystem::exists(folder_of("exported") / "model") ||
           !partial_files("exported").empty();
  });
  process.wait_for("evaluated after step 30");
  process.send(SIGKILL);
  process.status();
  const Outcome outcome =
      run_program(run("exported", "train.save_every=10") + "--resume");
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  train::expect_equal_runs(whole(), folder_of("exported"));
}

}  // namespace
}  // namespace lowmem::test
