// The program from the outside: run folders, their fields, and what a user can get wrong.
#include <gmock/gmock.h>

#include <fstream>

#include "cli/program.h"

namespace lowmem::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;
namespace fs = std::filesystem;

std::vector<json> lines_of(const fs::path& file) {
  std::vector<json> lines;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) lines.push_back(json::parse(line));
  return lines;
}

class Train : public DemoProgram {};

TEST_F(Train, WritesTheRunFolderThatTheManualPromises) {
  const Outcome run = run_program(quick("full") + "eval.data=" + at("val.jsonl") +
                                  " eval.limit=20 eval.every=4 train.max_steps=8");
  ASSERT_EQ(run.status, 0) << run.output;
  const fs::path folder = folder_of("full");

  const json results = read_json(folder / "results.json");
  for (const char* key : {"status", "steps", "accuracy", "final_loss", "peak_bytes",
                          "peak_rss_bytes", "device_used_bytes", "examples_per_second",
                          "tokens_per_second", "seconds", "versions"})
    EXPECT_TRUE(results.contains(key)) << key;
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
  for (const char* key :
       {"step", "epoch", "loss", "lr", "examples", "tokens", "labelled_tokens",
        "grad_norm", "step_seconds", "tokens_per_second", "peak_bytes", "rss_bytes"})
    EXPECT_TRUE(metrics[0].contains(key)) << key;
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
