// Too little memory is one line, whatever runs out and whenever.
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "fault/control_group.h"
#include "fault/runs.h"

namespace lowmem::test {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

template <class Resource>
std::function<bool()> limit(Resource resource, rlim_t most) {
  return [resource, most] {
    const rlimit limit{most, most};
    return ::setrlimit(resource, &limit) == 0;
  };
}
std::function<bool()> address_limit(rlim_t bytes) { return limit(RLIMIT_AS, bytes); }

std::function<bool()> environment(const char* name, const char* value) {
  return [=] { return ::setenv(name, value, 1) == 0; };
}

class Starved : public FaultyRuns {
 protected:
#ifdef __SANITIZE_ADDRESS__
  void SetUp() override {
    GTEST_SKIP() << "the address sanitizer takes the memory that these tests take away";
  }
#endif
  // A model of 100 million parameters, whose training does not fit what the tests give.
  static std::string large() {
    static const std::string path = [] {
      const std::string folder = at("large");
      fs::create_directories(folder);
      write_shape(folder + ".json", {{"hidden_size", 1024},
                                     {"intermediate_size", 4096},
                                     {"num_hidden_layers", 6},
                                     {"num_attention_heads", 16},
                                     {"num_key_value_heads", 16},
                                     {"head_dim", 64}});
      const Outcome made = run_program("init " + folder + ".json " + folder);
      EXPECT_EQ(made.status, 0) << made.output;
      for (const char* name : {"tokenizer.json", "tokenizer_config.json"})
        fs::copy_file(at("model") + "/" + name, folder + "/" + name,
                      fs::copy_options::overwrite_existing);
      return folder;
    }();
    return path;
  }
  static std::string training(const std::string& more = "") {
    return quick("starved") + "model.path=" + large() +
           " train.max_steps=2 run.overwrite=true " + more;
  }
  // Address space that the program takes before it has a model.
  static int64_t base() {
    static const int64_t bytes = [] {
      Process process("--version");
      int64_t most = 0;
      process.wait_until([&] {
        std::ifstream in("/proc/" + std::to_string(process.pid()) + "/statm");
        int64_t pages = 0;
        if (in >> pages) most = std::max(most, pages * 4096);
        return false;
      });
      return most;
    }();
    return bytes;
  }
};

TEST_F(Starved, OfAddressesItSaysSoInOneLine) {
  int failures = 0;
  // From less than the weights to nearly enough.
  for (int64_t extra = 256; extra <= 2304; extra += 256) {
    Process process(training(),
                    address_limit(static_cast<rlim_t>(base() + extra * 1048576)));
    if (process.status() == 0) continue;
    ++failures;
    expect_one_error(process, "memory");
  }
  EXPECT_GT(failures, 2);
}

// From where the libraries find no room for themselves to where a run fits: in the
// libraries' own beginning, in the middle of a kernel, and everywhere between.
// scripts/starve.sh takes smaller steps.
TEST_F(Starved, OfAddressesASmallRunEndsInOneLineWhereverItIs) {
  int failures = 0, successes = 0;
  for (rlim_t at = 380; at <= 800; at += 30) {  // MiB
    SCOPED_TRACE(at);
    Process process(quick("small") +
                        "run.overwrite=true train.save_every=2 model.dtype=bf16 "
                        "model.compute_dtype=bf16 data.limit=64",
                    limit(RLIMIT_AS, at << 20));
    if (process.status() == 127) continue;  // it could not be loaded
    if (process.status() == 0) {
      ++successes;
      continue;
    }
    ++failures;
    expect_one_error(process, "memory");
    EXPECT_TRUE(partial_files("small").empty());
  }
  EXPECT_GT(failures, 3);
  EXPECT_GT(successes, 0);
}

TEST_F(Starved, OfStackItRaisesTheLimitOrSaysSo) {
  const std::string arguments = quick("stack") + "run.overwrite=true";
  Process raised(arguments, [] {
    const rlimit limit{64 << 10, RLIM_INFINITY};
    return ::setrlimit(RLIMIT_STACK, &limit) == 0;
  });
  EXPECT_EQ(raised.status(), 0) << raised.output();
  Process refused(arguments, limit(RLIMIT_STACK, 128 << 10));
  expect_one_error(refused, "stack");
  Process threads(arguments, environment("OMP_STACKSIZE", "64k"));
  expect_one_error(threads, "OMP_STACKSIZE = 64.0 KiB");
}

TEST_F(Starved, OfThreadsItComputesWithFewer) {
  const auto threads = [](const char* count, const char* stack) {
    return [=] {  // MKL, unless it is told not to, asks for no more than there are
                  // processors
      return ::setenv("MKL_DYNAMIC", "FALSE", 1) == 0 &&
             ::setenv("OMP_NUM_THREADS", count, 1) == 0 &&
             ::setenv("OMP_STACKSIZE", stack, 1) == 0;
    };
  };
  Process many(quick("threads") + "run.overwrite=true", threads("3", "100000g"));
  EXPECT_EQ(many.status(), 0) << many.output();
  EXPECT_THAT(many.output(), HasSubstr("the system gives 1 of 3 threads"));
  Process mistyped(quick("threads") + "run.overwrite=true", threads("100000", "8m"));
  EXPECT_EQ(mistyped.status(), 0) << mistyped.output();
  EXPECT_THAT(mistyped.output(), HasSubstr("100000 threads are asked for"));
}

TEST_F(Starved, OfFilesItSaysSoInOneLine) {
  for (const rlim_t files : {4, 5, 6}) {
    Process process(quick("files") + "run.overwrite=true", limit(RLIMIT_NOFILE, files));
    if (process.status() == 0 || process.status() == 127) continue;
    expect_one_error(process, "open files");
  }
}

// MKL would end the process, with a line about itself.
TEST_F(Starved, OfItsFolderItSaysSo) {
  Process process(quick("gone"), [] {
    const std::string gone = "/tmp/lowmem-gone-" + std::to_string(::getpid());
    return ::mkdir(gone.c_str(), 0700) == 0 && ::chdir(gone.c_str()) == 0 &&
           ::rmdir(gone.c_str()) == 0;
  });
  expect_one_error(process, "the current folder: is gone");
}

// A rehearsal takes more addresses than any run.
TEST_F(Starved, OfThePlansAddressesItTrainsWithoutAPlan) {
  Process process(quick("unplanned"), address_limit(rlim_t{200} << 30));
  EXPECT_EQ(process.status(), 0) << process.output();
  EXPECT_THAT(process.output(), HasSubstr("no plan"));
  Process plan("plan" + quick("unplanned"), address_limit(rlim_t{200} << 30));
  EXPECT_EQ(plan.status(), 1);
  EXPECT_THAT(plan.output(), HasSubstr("error: memory: cannot be planned"));
}

TEST_F(Starved, InAContainerItSaysSoRatherThanBeKilled) {
  const ControlGroup group("memory", {"memory.max", "memory.limit_in_bytes"});
  if (group.path().empty())
    GTEST_SKIP() << "this system lets no test make a control group";
  const bool second = group.has("memory.max");
  int failures = 0;
  for (const int64_t megabytes : {400, 700, 1000, 1300}) {
    const std::string bytes = std::to_string(megabytes * 1048576);
    ASSERT_TRUE(write_to(group.path() / (second ? "memory.max" : "memory.limit_in_bytes"),
                         bytes));
    if (second) write_to(group.path() / "memory.swap.max", "0");
    Process process(training(), [&] { return group.enter(); });
    if (process.status() == 0) continue;
    ++failures;
    expect_one_error(process, "memory");
  }
  EXPECT_GT(failures, 1);
}

}  // namespace
}  // namespace lowmem::test
