// What a disk says late: when a file or folder is synced, closed or put in place.
#include <gmock/gmock.h>

#include <cerrno>

#include "fault/runs.h"

namespace lowmem::test {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

class Synced : public FaultyRuns {
 protected:
#ifdef __SANITIZE_ADDRESS__
  void SetUp() override { GTEST_SKIP() << "the address sanitizer wants to be first"; }
#endif
  static std::function<bool()> fault(const std::string& call, int code,
                                     const std::string& end) {
    const std::string set = call + " " + std::to_string(code) + " " + end;
    return [set] {
      return ::setenv("FAULTY_CALL", set.c_str(), 1) == 0 &&
             ::setenv("LD_PRELOAD", FAULTY_CALLS, 1) == 0;
    };
  }
  static std::string short_run(const std::string& name) {
    return quick(name) + "train.save_every=3 run.overwrite=true ";
  }
};

TEST_F(Synced, AFileThatDoesNotReachTheDiskIsAnError) {
  const struct {
    const char* call;
    int code;
    const char* end;    // of the path that fails
    const char* named;  // in the error
  } faults[] = {
      {"fsync", EIO, ".config.yaml.partial", "config.yaml"},
      {"fsync", EIO, ".weights.safetensors.partial", "weights.safetensors"},
      {"fsync", ENOSPC, ".manifest.json.partial", "manifest.json"},
      {"fsync", EDQUOT, ".model.safetensors.partial", "model.safetensors"},
      {"fsync", ENOSPC, "/metrics.jsonl", "metrics.jsonl"},
      {"fsync", EIO, ".results.json.partial", "results.json"},
      {"close", EIO, "/model.safetensors", "model.safetensors"},
      {"close", EDQUOT, "/weights.safetensors", "weights.safetensors"},
      {"write", EIO, ".weights.safetensors.partial", "weights.safetensors"},
      {"rename", EIO, ".model.safetensors.partial", "model.safetensors"},
  };
  for (const auto& [call, code, end, named] : faults) {
    SCOPED_TRACE(std::string(call) + " " + end);
    Process process(short_run("late"), fault(call, code, end));
    expect_one_error(process, named);
    EXPECT_THAT(process.output(), HasSubstr(std::strerror(code)));
    EXPECT_FALSE(fs::exists(folder_of("late") / "results.json"));
    EXPECT_TRUE(partial_files("late").empty());
  }
  Process again(short_run("late") + "--resume");
  EXPECT_EQ(again.status(), 0) << again.output();
}

TEST_F(Synced, AFolderThatDoesNotReachTheDiskIsAnError) {
  for (const char* end : {"/runs", "/checkpoints", ".step-00000003.partial", "/model"}) {
    SCOPED_TRACE(end);
    fs::remove_all(folder_of("folder"));
    Process process(short_run("folder"), fault("fsync", EIO, end));
    expect_one_error(process, "could not be brought to the disk");
    EXPECT_FALSE(fs::exists(folder_of("folder") / "results.json"));
  }
}

TEST_F(Synced, AFileSystemThatCannotSayIsNamedOnce) {
  for (const int code : {EINVAL, ENOSYS, EOPNOTSUPP}) {
    Process process(short_run("unsaid"), fault("fsync", code, ""));
    EXPECT_EQ(process.status(), 0) << process.output();
    const std::string said = process.output(),
                      line = "does not say when it is on the disk";
    EXPECT_THAT(said, HasSubstr(line));
    EXPECT_EQ(said.find(line), said.rfind(line)) << said;
  }
}

// As in a container whose image holds the run.
TEST_F(Synced, AnOldCheckpointThatCannotBeRenamedIsRemoved) {
  Process process(short_run("layers") + "train.keep_checkpoints=1",
                  fault("rename", EXDEV, "step-00000003"));
  EXPECT_EQ(process.status(), 0) << process.output();
  EXPECT_FALSE(fs::exists(folder_of("layers") / "checkpoints/step-00000003"));
  EXPECT_TRUE(fs::exists(folder_of("layers") / "checkpoints/step-00000006"));
}

}  // namespace
}  // namespace lowmem::test
