// The program from the outside: run folders, their fields, and what a user can get wrong.
#include <gmock/gmock.h>

#include <fstream>

#include "cli/program.h"

namespace lowmem::test {
namespace {

using nlohmann::json;
using testing::ElementsAre, testing::HasSubstr;
namespace fs = std::filesystem;

std::vector<json> lines_of(const fs::path& file) {
  std::vector<json> lines;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) lines.push_back(json::parse(line));
  return lines;
}

std::vector<std::string> keys_of(const json& object) {
  std::vector<std::string> keys;  // sorted
  for (const auto& [key, value] : object.items()) keys.push_back(key);
  return keys;
}

class Train : public DemoProgram {};

TEST_F(Train, WritesTheRunFolderOfTheOutputsPage) {
  const Outcome run = run_program(quick("full") + "eval.data=" + at("val.jsonl") +
                                  " eval.limit=20 eval.every=4 train.max_steps=8");
  ASSERT_EQ(run.status, 0) << run.output;
  const fs::path folder = folder_of("full");

  const json results = read_json(folder / "results.json");
  EXPECT_THAT(
      keys_of(results),
      ElementsAre("accuracy", "best", "device_used_bytes", "examples_per_second",
                  "exported_step", "final_loss", "host_peak_bytes", "nonfinite_steps",
                  "peak_bytes", "peak_rss_bytes", "perplexity", "seconds", "skipped_rows",
                  "status", "steps", "tokens_per_second", "versions"));
  EXPECT_EQ(results["status"], "finished");
  EXPECT_EQ(results["steps"], 8);
  for (const char* key :
       {"total", "load", "forward", "backward", "update", "evaluate", "save"})
    EXPECT_GT(results["peak_bytes"][key].get<int64_t>(), 0) << key;
  EXPECT_EQ(results["accuracy"]["before"]["count"], 20);
  EXPECT_EQ(results["accuracy"]["after"]["count"], 20);
  ASSERT_EQ(results["accuracy"]["epochs"].size(), 2u);  // after steps 4 and 8
  EXPECT_EQ(results["accuracy"]["epochs"][0]["step"], 4);

  const auto metrics = lines_of(folder / "metrics.jsonl");
  ASSERT_EQ(metrics.size(), 4u);
  EXPECT_THAT(keys_of(metrics[0]),
              ElementsAre("epoch", "examples", "grad_norm", "labelled_tokens", "loss",
                          "lr", "peak_bytes", "rss_bytes", "step", "step_seconds",
                          "tokens", "tokens_per_second"));
  EXPECT_EQ(metrics[3]["step"], 8);
  EXPECT_EQ(metrics[3]["examples"], 8);  // two steps of four since the line before

  for (const int step : {0, 4, 8}) {
    const auto rows =
        lines_of(folder / ("evaluation-" + std::to_string(step) + ".jsonl"));
    ASSERT_EQ(rows.size(), 20u) << step;
    EXPECT_EQ(rows[0]["log_likelihoods"].size(), 4u);
    for (const char* key : {"index", "label", "acc", "acc_norm"})
      EXPECT_TRUE(rows[0].contains(key)) << key;
  }
  for (const char* name :
       {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"})
    EXPECT_TRUE(fs::exists(folder / "model" / name)) << name;
}

// For the low-memory recipe as for the baseline, whose settings are `quick`'s.
TEST_F(Train, EvaluationAndSavingStayBelowTheTrainingPeak) {
  const std::string low =
      "model.dtype=bf16 model.compute_dtype=bf16 optimizer.name=adafactor "
      "memory.activations=recompute memory.gradients=update ";
  const std::string baseline =
      "memory.activations=keep memory.gradients=accumulate "
      "memory.linear_cross_entropy=false ";
  const std::string whole_logits = low + "memory.linear_cross_entropy=false ";
  for (const std::string& settings : {low, baseline, whole_logits}) {
    const Outcome run =
        run_program(quick("peaks") + "run.overwrite=true train.batch_size=16 " +
                    settings + "eval.data=" + at("val.jsonl"));
    ASSERT_EQ(run.status, 0) << run.output;
    const json peaks = results("peaks")["peak_bytes"];
    const int64_t training = training_peak(peaks);
    EXPECT_LT(peaks["evaluate"].get<int64_t>(), training) << settings;
    EXPECT_LT(peaks["save"].get<int64_t>(), training) << settings;
    EXPECT_EQ(peaks["total"].get<int64_t>(), training) << settings;
  }
}

// Steps of ever new lengths compile products anew; what is kept of that has a limit.
TEST_F(Train, ResidentSizeStaysWhereItIs) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "the address sanitizer keeps freed memory";
#endif
  const Outcome run = run_program(
      quick("resident") +
      "model.dtype=bf16 model.compute_dtype=bf16 optimizer.name=adafactor "
      "train.batch_size=8 train.max_steps=150 train.epochs=9 train.log_every=10");
  ASSERT_EQ(run.status, 0) << run.output;
  const std::vector<json> steps = lines_of(folder_of("resident") / "metrics.jsonl");
  EXPECT_LT(steps.back()["rss_bytes"].get<int64_t>(),
            steps.front()["rss_bytes"].get<int64_t>() + (int64_t{64} << 20));
}

TEST_F(Train, MetricsSayWhatRoundingToNearestWouldHaveLost) {
  const std::string bf16 =
      "model.dtype=bf16 model.compute_dtype=bf16 "
      "optimizer.name=adafactor ";
  const auto lost = [&](const std::string& settings) {
    EXPECT_EQ(run_program(quick("rounded") + "run.overwrite=true " + settings).status, 0);
    return lines_of(folder_of("rounded") / "metrics.jsonl").front();
  };
  // Steps of 1% move nearly every weight by more than half a unit; of 0.01%, hardly any.
  EXPECT_LT(lost(bf16 + "optimizer.lr=0.05")["rounding_lost"].get<double>(), 0.3);
  EXPECT_GT(lost(bf16 + "optimizer.lr=0.0001")["rounding_lost"].get<double>(), 0.7);
  EXPECT_FALSE(
      lost("model.dtype=fp32 model.compute_dtype=fp32").contains("rounding_lost"));
}

TEST_F(Train, ALossThatIsNotFiniteStopsTheRunOrIsSkippedAndCounted) {
  const std::string wild = "optimizer.name=sgd optimizer.lr=1e30 train.max_steps=4 ";
  const Outcome stopped = run_program(quick("wild") + wild);
  EXPECT_EQ(stopped.status, 1);
  EXPECT_THAT(stopped.output, HasSubstr("error: step 2: the loss is not finite"));
  EXPECT_THAT(stopped.output, HasSubstr("train.on_nonfinite = skip"));
  EXPECT_FALSE(fs::exists(folder_of("wild") / "results.json"));
  const Outcome skipped =
      run_program(quick("wild") + wild + "train.on_nonfinite=skip run.overwrite=true");
  EXPECT_EQ(skipped.status, 0) << skipped.output;
  EXPECT_THAT(skipped.output, HasSubstr("step 2: the loss is not finite; the step is "
                                        "skipped"));
  EXPECT_EQ(results("wild")["nonfinite_steps"], 3);
  const Outcome endless =
      run_program(quick("endless") + wild + "train.on_nonfinite=skip train.max_steps=50");
  EXPECT_EQ(endless.status, 1);
  EXPECT_THAT(endless.output, HasSubstr("error: step 21: the loss is not finite, nor"));
}

TEST_F(Train, ClippingInTwoPassesGivesTheModelOfClippingInOne) {
  const std::string clip = "optimizer.name=adam optimizer.clip_norm=0.1 ";
  ASSERT_EQ(run_program(quick("one") + clip + "memory.gradients=accumulate").status, 0);
  ASSERT_EQ(run_program(quick("two") + clip +
                        "memory.gradients=update optimizer.clip_mode=two_pass")
                .status,
            0);
  EXPECT_EQ(read_file(folder_of("one") / "model/model.safetensors"),
            read_file(folder_of("two") / "model/model.safetensors"));
}

TEST_F(Train, TheSavedConfigReproducesTheRun) {
  ASSERT_EQ(run_program(quick("first")).status, 0);
  const Outcome again =
      run_program("--config " + at("runs/first/config.yaml") + " --run-name second");
  ASSERT_EQ(again.status, 0) << again.output;
  EXPECT_EQ(results("first")["final_loss"], results("second")["final_loss"]);
  EXPECT_EQ(read_file(folder_of("first") / "model/model.safetensors"),
            read_file(folder_of("second") / "model/model.safetensors"));
}

TEST_F(Train, ASecondSeedTakesAnotherOrder) {
  ASSERT_EQ(run_program(quick("seed1") + "--seed 1").status, 0);
  ASSERT_EQ(run_program(quick("seed2") + "--seed 2").status, 0);
  EXPECT_NE(results("seed1")["final_loss"], results("seed2")["final_loss"]);
}

TEST_F(Train, EvaluatingTheExportedModelGivesTheAccuracyAfterTraining) {
  const std::string eval = "eval.data=" + at("val.jsonl") + " eval.limit=50 ";
  ASSERT_EQ(run_program(quick("exported") + eval + "train.max_steps=30").status, 0);
  const Outcome outcome =
      run_program("evaluate model.dtype=fp32 model.compute_dtype=fp32 " + eval +
                  "--model " + at("runs/exported/model"));
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  char line[32];
  std::snprintf(line, sizeof line, "acc %.4f\n",
                results("exported")["accuracy"]["after"]["acc"].get<double>());
  EXPECT_THAT(outcome.output, HasSubstr(line));
}

TEST_F(Train, AFinishedRunIsNotOverwrittenUnlessTold) {
  ASSERT_EQ(run_program(quick("kept")).status, 0);
  const std::string before = read_file(folder_of("kept") / "results.json");
  const Outcome refused = run_program(quick("kept"));
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.output, HasSubstr("run.overwrite"));
  EXPECT_EQ(read_file(folder_of("kept") / "results.json"), before);
  EXPECT_EQ(run_program(quick("kept") + "run.overwrite=true").status, 0);
}

TEST_F(Train, EveryOptimizerAndPrecisionRuns) {
  for (const char* optimizer : {"adam", "adamw", "adafactor", "sgd"})
    for (const char* types : {"model.dtype=fp32 model.compute_dtype=bf16",
                              "model.dtype=bf16 model.compute_dtype=bf16"}) {
      const Outcome run = run_program(quick(std::string(optimizer)) +
                                      "run.overwrite=true train.micro_batch_size=3 " +
                                      types + " optimizer.name=" + optimizer);
      EXPECT_EQ(run.status, 0) << run.output;
      EXPECT_GT(results(optimizer)["final_loss"].get<double>(), 0);
    }
}

TEST_F(Train, ReportPrintsARowARun) {
  ASSERT_EQ(run_program(quick("reported")).status, 0);
  const Outcome report = run_program("report " + at("runs/reported"));
  EXPECT_EQ(report.status, 0);
  EXPECT_THAT(report.output, HasSubstr("| reported |"));
  // An unfinished run beside it costs a warning, not the table.
  fs::create_directories(folder_of("unfinished"));
  fs::copy(folder_of("reported") / "config.yaml", folder_of("unfinished"));
  const Outcome both =
      run_program("report " + at("runs/reported") + " " + at("runs/unfinished"));
  EXPECT_EQ(both.status, 0);
  EXPECT_THAT(both.output, HasSubstr("| reported |"));
  EXPECT_THAT(both.output, HasSubstr("unfinished has no results.json"));
}

TEST_F(Train, InitWritesAModelThatLoads) {
  const Outcome init =
      run_program("init " + at("model/config.json") + " " + at("random"));
  ASSERT_EQ(init.status, 0) << init.output;
  const Outcome outcome = run_program("evaluate --model " + at("random") +
                                      " eval.data=" + at("val.jsonl") + " eval.limit=4");
  EXPECT_EQ(outcome.status, 0) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("rows 4"));
}

}  // namespace
}  // namespace lowmem::test
