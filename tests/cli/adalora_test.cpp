// Runs of adapters whose ranks come down: what they report and leave, and how they go on.
#include <gmock/gmock.h>

#include "cli/program.h"
#include "train/run_files.h"

namespace lowmem::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;
namespace fs = std::filesystem;

class AdaloraRuns : public DemoProgram {
 protected:
  static std::string run(const std::string& name, const std::string& more = "") {
    return " -q model.path=" + at("model") + " data.train=" + at("train.jsonl") +
           " eval.data=" + at("val.jsonl") + " eval.limit=24 eval.every=4" +
           " run.dir=" + at("runs") + " run.name=" + name +
           " train.max_steps=8 train.log_every=1 train.batch_size=12" +
           " adapter.kind=adalora adapter.targets=all-linear adapter.rank=6" +
           " adapter.target_rank=2 adapter.tinit=1 adapter.tfinal=2" +
           " optimizer.name=adamw optimizer.lr=0.01 " + more + " ";
  }
  static Outcome trains(const std::string& name, const std::string& more = "") {
    Outcome outcome = run_program(run(name, more));
    EXPECT_EQ(outcome.status, 0) << outcome.output;
    return outcome;
  }
  static std::string evaluate(const std::string& more) {
    const Outcome outcome =
        run_program("evaluate -q eval.data=" + at("val.jsonl") +
                    " eval.limit=24 --rows " + at("rows.jsonl") + " " + more);
    EXPECT_EQ(outcome.status, 0) << outcome.output;
    return read_file(at("rows.jsonl"));
  }
  static json first_row(const std::string& rows) {
    return json::parse(rows.substr(0, rows.find('\n')))["log_likelihoods"];
  }
  static void expect_near(const json& a, const json& b) {
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i)
      EXPECT_NEAR(a[i].get<double>(), b[i].get<double>(), 1e-3);
  }
  static std::string adapter_of(const std::string& name) {
    return (folder_of(name) / "adapter").string();
  }
};

TEST_F(AdaloraRuns, LeaveTheRanksThatTheyReport) {
  trains("plain");
  const auto lines = train::raw_lines_of(folder_of("plain"));
  ASSERT_EQ(lines.size(), 8U);
  std::vector<int64_t> ranks;
  for (const json& line : lines) {
    ranks.push_back(line["adapter_rank"]);
    EXPECT_GT(line["orthogonality"], 0);
  }
  const json config = read_json(folder_of("plain") / "adapter/adapter_config.json");
  const json results = read_json(folder_of("plain") / "results.json");
  const auto modules = static_cast<int64_t>(results["adapter_ranks"].size());
  EXPECT_EQ(ranks.front(), 6 * modules);
  EXPECT_TRUE(std::is_sorted(ranks.rbegin(), ranks.rend()));
  EXPECT_EQ(ranks[5], 2 * modules);
  EXPECT_EQ(ranks.back(), 2 * modules);
  EXPECT_EQ(config["peft_type"], "ADALORA");
  EXPECT_EQ(config["total_step"], 8);
  int64_t left = 0;
  for (const auto& [module, rank] : results["adapter_ranks"].items()) {
    int64_t own = 0;
    for (const json& there : config["rank_pattern"][module + ".lora_E"])
      own += there.get<bool>() ? 1 : 0;
    EXPECT_EQ(own, rank) << module;
    left += own;
  }
  EXPECT_EQ(left, ranks.back());

  // What is read again scores as it did, beside the run's settings or alone.
  const json then = first_row(read_file(folder_of("plain") / "evaluation-8.jsonl"));
  const std::string path = " adapter.path=" + adapter_of("plain");
  expect_near(first_row(evaluate("model.path=" + at("model") + path)), then);
  expect_near(first_row(evaluate("--config " +
                                 (folder_of("plain") / "config.yaml").string() + path)),
              then);

  const Outcome report = run_program("report --html " + at("report.html") + " " +
                                     folder_of("plain").string());
  ASSERT_EQ(report.status, 0) << report.output;
  EXPECT_THAT(read_file(at("report.html")), HasSubstr("triplets that AdaLoRA has left"));
}

TEST_F(AdaloraRuns, EndWithTheSameBitsWithEveryPolicyAndGoOnExactly) {
  for (const std::string variant :
       {"adapter.delta_t=2 ", "model.quantize=nf4 adapter.dropout=0.2 ",
        "optimizer.clip_norm=0.5 optimizer.clip_mode=two_pass train.micro_batch_size=5 ",
        "model.quantize=int8 optimizer.name=sgd optimizer.momentum=0.9 "}) {
    SCOPED_TRACE(variant);
    const std::string settings = "run.overwrite=true train.save_every=3 " + variant;
    trains("whole", settings);
    trains("parts", settings + "memory.weights=disk memory.activations=keep");
    train::expect_equal_runs(folder_of("whole"), folder_of("parts"));
    // Before the ranks are settled, when they just were, and after.
    for (const char* newest : {"step-00000003", "step-00000006"}) {
      fs::remove(folder_of("parts") / "results.json");
      fs::remove_all(folder_of("parts") / "adapter");
      for (const auto& each : fs::directory_iterator(folder_of("parts") / "checkpoints"))
        if (each.path().filename().string() > newest) fs::remove_all(each.path());
      const Outcome outcome = run_program(run("parts", settings) + "--resume");
      ASSERT_EQ(outcome.status, 0) << outcome.output;
      train::expect_equal_runs(folder_of("whole"), folder_of("parts"));
    }
  }
}

TEST_F(AdaloraRuns, GoOnForNoLongerThanTheyBegan) {
  trains("length", "train.save_every=3 optimizer.schedule=constant");
  const Outcome outcome = run_program(
      run("length", "train.save_every=3 optimizer.schedule=constant train.max_steps=12") +
      "--resume");
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.output, HasSubstr("train.max_steps = 12"));
}

TEST_F(AdaloraRuns, MergedIsTheModelWithItInside) {
  const std::string in_fp32 = " model.dtype=fp32 model.compute_dtype=fp32 ";
  trains("merging", "adapter.merge=true" + in_fp32);
  const Outcome merged = run_program("merge -q " + adapter_of("merging") + " --model " +
                                     at("model") + " --into " + at("adalora-merged"));
  ASSERT_EQ(merged.status, 0) << merged.output;
  const json inside = first_row(evaluate("model.path=" + at("adalora-merged") + in_fp32));
  expect_near(inside, first_row(evaluate("model.path=" + at("model") + in_fp32 +
                                         "adapter.path=" + adapter_of("merging"))));
  expect_near(inside,
              first_row(evaluate(
                  "model.path=" + (folder_of("merging") / "model").string() + in_fp32)));
}

// Of the evaluations those count that have the ranks that are left.
TEST_F(AdaloraRuns, LeaveTheBestOfTheSettled) {
  trains("best", "train.keep_best=true eval.every=1 optimizer.lr=0.3 adapter.tfinal=4");
  const json results = read_json(folder_of("best") / "results.json");
  const int64_t step = results["exported_step"];
  EXPECT_GE(step, 4);
  expect_near(first_row(read_file(folder_of("best") /
                                  ("evaluation-" + std::to_string(step) + ".jsonl"))),
              first_row(evaluate("model.path=" + at("model") +
                                 " adapter.path=" + adapter_of("best"))));
}

TEST_F(AdaloraRuns, BeginWithAnAdapterThatHasComeDown) {
  trains("first");
  const std::string path = " adapter.path=" + adapter_of("first");
  const Outcome outcome = run_program(
      " -q model.path=" + at("model") + " data.train=" + at("train.jsonl") +
      " run.dir=" + at("runs") + " run.name=second train.max_steps=4 train.log_every=1" +
      " train.batch_size=12 optimizer.name=adamw adapter.target_rank=1" + path);
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  const json first = read_json(folder_of("first") / "results.json")["adapter_ranks"];
  const json second = read_json(folder_of("second") / "results.json")["adapter_ranks"];
  int64_t left = 0;
  for (const auto& [module, rank] : second.items()) {
    EXPECT_LE(rank, first[module]) << module;
    left += rank.get<int64_t>();
  }
  EXPECT_EQ(left, static_cast<int64_t>(second.size()));
}

TEST_F(AdaloraRuns, WithoutAStepLeaveAllTriplets) {
  trains("none", "train.max_steps=0 train.epochs=0");
  const json config = read_json(folder_of("none") / "adapter/adapter_config.json");
  EXPECT_TRUE(config["rank_pattern"].is_null());
  expect_near(first_row(evaluate("model.path=" + at("model") +
                                 " adapter.path=" + adapter_of("none"))),
              first_row(evaluate("model.path=" + at("model"))));
}

}  // namespace
}  // namespace lowmem::test
