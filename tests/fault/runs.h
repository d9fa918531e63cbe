#pragma once

#include "fault/process.h"
#include "train/run_files.h"

namespace lowmem::test {

// Runs of the demo that last a second, with everything in them that can be interrupted.
class FaultyRuns : public DemoProgram {
 protected:
  static std::string run(const std::string& name, const std::string& more = "") {
    return quick(name) + "train.max_steps=60 train.log_every=4 train.save_every=1 " +
           "eval.data=" + at("val.jsonl") + " eval.limit=16 eval.every=10 " + more + " ";
  }
  // The same, never interrupted; made once a suite.
  static std::filesystem::path whole() {
    if (!std::filesystem::exists(folder_of("whole") / "results.json")) {
      const Outcome outcome = run_program(run("whole"));
      EXPECT_EQ(outcome.status, 0) << outcome.output;
    }
    return folder_of("whole");
  }
  // Resumes it to its end, which must be the end of a run never interrupted.
  static void expect_exact_end(const std::string& name) {
    const Outcome outcome = run_program(run(name) + "--resume");
    ASSERT_EQ(outcome.status, 0) << outcome.output;
    train::expect_equal_runs(whole(), folder_of(name));
  }
  static std::vector<std::filesystem::path> partial_files(const std::string& name) {
    std::vector<std::filesystem::path> found;
    std::error_code code;
    for (std::filesystem::recursive_directory_iterator at(folder_of(name), code), end;
         at != end; at.increment(code))
      if (at->path().filename().string().ends_with(".partial"))
        found.push_back(at->path());
    return found;
  }
};

}  // namespace lowmem::test
