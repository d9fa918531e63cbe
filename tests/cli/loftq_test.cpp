// Runs over codes that their beginning made anew, LoftQ of more than one iteration: how
// they go on, and what their adapter is beside.
#include <gmock/gmock.h>

#include "cli/program.h"
#include "train/run_files.h"

namespace lowmem::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;
namespace fs = std::filesystem;

class LoftqRuns : public DemoProgram {
 protected:
  static std::string run(const std::string& name, const std::string& more = "") {
    return " -q model.path=" + at("model") + " data.train=" + at("train.jsonl") +
           " eval.data=" + at("val.jsonl") + " eval.limit=24 eval.every=4" +
           " run.dir=" + at("runs") + " run.name=" + name +
           " train.max_steps=8 train.log_every=2 train.batch_size=12" +
           " adapter.kind=lora adapter.targets=all-linear adapter.rank=4" +
           " model.quantize=nf4 adapter.init=loftq adapter.loftq_iterations=3" +
           " optimizer.name=adamw optimizer.lr=0.01 " + more + " ";
  }
  static void trains(const std::string& name, const std::string& more = "") {
    const Outcome outcome = run_program(run(name, more));
    ASSERT_EQ(outcome.status, 0) << outcome.output;
  }
  static Outcome evaluate(const std::string& more) {
    return run_program("evaluate -q eval.data=" + at("val.jsonl") +
                       " eval.limit=24 --rows " + at("rows.jsonl") + " " + more);
  }
  static std::string in(const std::string& name, const char* folder) {
    return (folder_of(name) / folder).string();
  }
  static void expect_refused(const Outcome& outcome) {
    EXPECT_EQ(outcome.status, 1);
    EXPECT_THAT(outcome.output, HasSubstr("beside codes that its beginning made anew"));
    EXPECT_THAT(outcome.output, HasSubstr("Give as the model the folder base"));
  }
};

TEST_F(LoftqRuns, GoOnToTheSameBitsAndMoveLikeAnyOther) {
  for (const std::string variant :
       {"", "adapter.kind=dora model.double_quantization=false ",
        "train.whole_checkpoints=true "}) {
    SCOPED_TRACE(variant);
    const std::string settings = "run.overwrite=true train.save_every=3 " + variant;
    trains("whole", settings);
    trains("parts", settings + "memory.weights=disk memory.activations=keep");
    train::expect_equal_runs(folder_of("whole"), folder_of("parts"));
    EXPECT_EQ(read_file(in("whole", "base/model.safetensors")),
              read_file(in("parts", "base/model.safetensors")));
    fs::remove(folder_of("parts") / "results.json");
    fs::remove_all(folder_of("parts") / "adapter");
    const Outcome outcome = run_program(run("parts", settings) + "--resume");
    ASSERT_EQ(outcome.status, 0) << outcome.output;
    train::expect_equal_runs(folder_of("whole"), folder_of("parts"));
  }
  fs::remove(folder_of("parts") / "results.json");
  fs::remove_all(folder_of("parts") / "base");
  const Outcome lost = run_program(
      run("parts", "run.overwrite=true train.save_every=3 train.whole_checkpoints=true") +
      "--resume");
  EXPECT_EQ(lost.status, 1);
  EXPECT_THAT(lost.output, HasSubstr("is gone, with the codes"));
}

TEST_F(LoftqRuns, LeaveTheModelThatTheAdapterIsBeside) {
  trains("plain", "adapter.merge=true train.keep_best=true");
  const std::string adapter = in("plain", "adapter"), base = in("plain", "base");
  EXPECT_EQ(
      read_json(fs::path(adapter) / "adapter_config.json").at("base_model_name_or_path"),
      "../base");
  const std::string beside = "adapter.path=" + adapter + " model.quantize=nf4 ";
  const Outcome same = evaluate("model.path=" + base + " " + beside);
  ASSERT_EQ(same.status, 0) << same.output;
  const json results = read_json(folder_of("plain") / "results.json");
  const int64_t step = results["exported_step"];
  EXPECT_EQ(
      read_file(at("rows.jsonl")),
      read_file(folder_of("plain") / ("evaluation-" + std::to_string(step) + ".jsonl")));

  // Merged into these codes; beside others it is refused.
  const Outcome merged =
      run_program("merge -q " + adapter + " --model " + base + " --into " + at("merged"));
  ASSERT_EQ(merged.status, 0) << merged.output;
  EXPECT_EQ(read_file(at("merged/model.safetensors")),
            read_file(in("plain", "model/model.safetensors")));
  expect_refused(run_program("merge -q " + adapter + " --model " + at("model") +
                             " --into " + at("never")));
  EXPECT_FALSE(fs::exists(at("never")));
  expect_refused(evaluate("model.path=" + at("model") + " " + beside));
  expect_refused(
      evaluate("--config " + in("plain", "config.yaml") + " adapter.path=" + adapter));
}

// An adapter that goes on in another run is beside the same codes.
TEST_F(LoftqRuns, AreGoneOnWithBesideTheirBase) {
  trains("first");
  const std::string more = " -q data.train=" + at("train.jsonl") +
                           " run.dir=" + at("runs") + " train.max_steps=2" +
                           " model.quantize=nf4 optimizer.name=adamw optimizer.lr=0.01" +
                           " adapter.path=" + in("first", "adapter");
  expect_refused(run_program("run.name=other model.path=" + at("model") + more));
  const Outcome outcome =
      run_program("run.name=second model.path=" + in("first", "base") + more);
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  expect_refused(evaluate("model.path=" + at("model") + " model.quantize=nf4" +
                          " adapter.path=" + in("second", "adapter")));
  EXPECT_EQ(evaluate("model.path=" + in("first", "base") + " model.quantize=nf4" +
                     " adapter.path=" + in("second", "adapter"))
                .status,
            0);
}

// Codes are what is there: the numbers that they were made of are gone.
TEST_F(LoftqRuns, BesideAFolderInCodesAreRefused) {
  const Outcome quantized =
      run_program("quantize -q " + at("model") + " --as nf4 --into " + at("coded"));
  ASSERT_EQ(quantized.status, 0) << quantized.output;
  const Outcome outcome = run_program(run("never", "model.path=" + at("coded")));
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.output, HasSubstr("adapter.init = loftq"));
  EXPECT_THAT(outcome.output, HasSubstr("Give the model that they were made of"));
}

}  // namespace
}  // namespace lowmem::test
