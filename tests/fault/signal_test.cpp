// SIGINT and SIGTERM save and end the run with a line that says how to go on.
#include <gmock/gmock.h>
#include <sys/resource.h>

#include "fault/runs.h"

namespace lowmem::test {
namespace {

using testing::AnyOf, testing::HasSubstr, testing::Not;

class Signals : public FaultyRuns, public testing::WithParamInterface<int> {};

TEST_P(Signals, SaveAndSayHowToGoOn) {
  const std::string name = "signal" + std::to_string(GetParam());
  Process process(run(name, "train.save_every=0"));
  ASSERT_TRUE(process.wait_for("step      8"));
  process.send(GetParam());
  EXPECT_EQ(process.status(), 128 + GetParam());
  EXPECT_THAT(process.output(), HasSubstr("stopped after step"));
  const std::string config = (folder_of(name) / "config.yaml").string();
  EXPECT_THAT(process.output(),
              HasSubstr("to go on: lowmem-train --config " + config + " --resume"));
  EXPECT_EQ(results(name)["status"], "stopped");

  // The line's own command.
  const Outcome outcome = run_program("--config " + config + " --resume");
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  train::expect_equal_runs(whole(), folder_of(name));
}

INSTANTIATE_TEST_SUITE_P(
    Each, Signals, testing::Values(SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU),
    [](const auto& given) { return std::string(sigabbrev_np(given.param)); });

class Signal : public FaultyRuns {};

TEST_F(Signal, WithinAnEvaluationDoesNotWaitForItsEnd) {
  const std::string arguments = run("evaluating", "eval.batch_size=1 eval.limit=600");
  Process process(arguments);
  ASSERT_TRUE(process.wait_for("step      8"));
  ASSERT_TRUE(process.wait_until([] {
    return std::filesystem::exists(folder_of("evaluating") / "checkpoints/step-00000009");
  }));
  std::this_thread::sleep_for(std::chrono::milliseconds(60));
  process.send(SIGTERM);
  EXPECT_EQ(process.status(), 128 + SIGTERM);
  EXPECT_THAT(process.output(), Not(HasSubstr("evaluated after step 10")));
  EXPECT_THAT(process.output(), HasSubstr("stopped after step 10"));
  const Outcome outcome = run_program(arguments + "--resume");
  EXPECT_EQ(outcome.status, 0) << outcome.output;
  EXPECT_EQ(results("evaluating")["accuracy"]["epochs"].size(), 6u);
}

TEST_F(Signal, BeforeTheFirstStepLeavesNothingToGoOnFrom) {
  Process process(run("early", "eval.batch_size=1 eval.limit=1000"));
  ASSERT_TRUE(process.wait_until(
      [] { return std::filesystem::exists(folder_of("early") / "metrics.jsonl"); }));
  process.send(SIGINT);
  EXPECT_EQ(process.status(), 128 + SIGINT);
  EXPECT_THAT(process.output(), HasSubstr("stopped after step 0"));
}

// The first would be answered after the step; this one takes far too long to wait for.
TEST_F(Signal, ASecondOneEndsItAtOnce) {
  Process process(
      run("impatient", "train.batch_size=512 eval.limit=1 data.max_length=500"));
  ASSERT_TRUE(process.wait_for("evaluated after step 0"));
  process.send(SIGINT);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  process.send(SIGINT);
  const auto sent = std::chrono::steady_clock::now();
  EXPECT_EQ(process.status(), 128 + SIGINT);
  EXPECT_LT(std::chrono::steady_clock::now() - sent, std::chrono::milliseconds(500));
  EXPECT_FALSE(std::filesystem::exists(folder_of("impatient") / "results.json"));
}

// As batch systems and service managers send them.
TEST_F(Signal, ThatComesTwiceOrWithAnotherIsAnsweredOnce) {
  Process process(run("twice", "train.save_every=0"));
  ASSERT_TRUE(process.wait_for("step      8"));
  process.send(SIGTERM);
  process.send(SIGHUP);
  std::this_thread::sleep_for(std::chrono::milliseconds(1));
  process.send(SIGTERM);
  // Two that wait together are delivered in the order of their numbers.
  EXPECT_THAT(process.status(), AnyOf(128 + SIGTERM, 128 + SIGHUP));
  expect_exact_end("twice");
}

// Ctrl-C reaches `lowmem-train ... | tee log` whole: the reader ends first.
TEST_F(Signal, WithTheLogsReaderGoneStillSaves) {
  int pipe[2];
  ASSERT_EQ(::pipe(pipe), 0);
  Process process(run("piped", "train.save_every=0 train.log_every=1"), [&] {
    ::close(pipe[0]);
    return ::dup2(pipe[1], 1) == 1 && ::dup2(pipe[1], 2) == 2;
  });
  ::close(pipe[1]);
  ::close(pipe[0]);
  process.wait_until([] {
    std::error_code code;
    return std::filesystem::file_size(folder_of("piped") / "metrics.jsonl", code) > 500 &&
           !code;
  });
  process.send(SIGINT);
  EXPECT_EQ(process.status(), 128 + SIGINT);
  EXPECT_FALSE(std::filesystem::is_empty(folder_of("piped") / "checkpoints"));
}

// Ctrl-Z and fg, or a batch system that gives the machine to another job for a while.
TEST_F(Signal, ThatHaltsItForAWhileChangesNothing) {
  Process process(run("halted"));
  for (const char* line : {"step      4", "step      8"}) {
    ASSERT_TRUE(process.wait_for(line));
    process.send(SIGTSTP);
    std::this_thread::sleep_for(std::chrono::milliseconds(150));
    EXPECT_FALSE(process.has_ended());
    process.send(SIGCONT);
  }
  EXPECT_EQ(process.status(), 0) << process.output();
  train::expect_equal_runs(whole(), folder_of("halted"));
}

// Ctrl-Backslash is for a program that does not answer: no line is said, and checkpoints
// are whole.
TEST_F(Signal, ThatAsksForACoreEndsItAtOnceAndLosesNoCheckpoint) {
  const std::string arguments = run("quit", "train.save_every=2");
  Process process(arguments, [] {
    const rlimit none{0, 0};
    return ::setrlimit(RLIMIT_CORE, &none) == 0;
  });
  ASSERT_TRUE(process.wait_for("step      8"));
  process.send(SIGQUIT);
  EXPECT_EQ(process.status(), 128 + SIGQUIT);
  const Outcome outcome = run_program(arguments + "--resume");
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  train::expect_equal_runs(whole(), folder_of("quit"));
}

TEST_F(Signal, ThatIsIgnoredAsNohupDoesStaysIgnored) {
  Process process(run("nohup"), [] { return ::signal(SIGHUP, SIG_IGN) != SIG_ERR; });
  ASSERT_TRUE(process.wait_for("step      8"));
  process.send(SIGHUP);
  EXPECT_EQ(process.status(), 0) << process.output();
}

}  // namespace
}  // namespace lowmem::test
