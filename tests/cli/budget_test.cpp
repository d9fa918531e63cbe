// memory.budget: the program chooses what fits, and no bit of the result depends on it.
#include <gmock/gmock.h>

#include "cli/planned.h"
#include "train/run_files.h"

namespace lowmem::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class Budget : public Plan {
 protected:
  // A model whose weights, 80 MB of them, outweigh everything else.
  static std::string with_wide_model(const std::string& more) {
    const auto wide = folder() / "wide";
    if (!exists(wide)) {
      const auto from = folder() / "wide.config";
      std::filesystem::copy(folder() / "model", from,
                            std::filesystem::copy_options::recursive);
      std::filesystem::remove(from / "model.safetensors");
      write_shape(from / "config.json", {{"hidden_size", 512},
                                         {"intermediate_size", 1408},
                                         {"num_hidden_layers", 12},
                                         {"num_attention_heads", 8},
                                         {"num_key_value_heads", 8},
                                         {"head_dim", 64}});
      const Outcome made =
          run_program("init -q " + (from / "config.json").string() + " " + wide.string());
      EXPECT_EQ(made.status, 0) << made.output;
    }
    return settings("model.path=" + wide.string() + " " + more);
  }
  static json plan_wide(const std::string& more) {
    const Outcome plan = run_program("plan --json -q" + with_wide_model(more));
    EXPECT_EQ(plan.status, 0) << plan.output;
    return json::parse(plan.output);
  }
  static int64_t peak_of(const json& plan) { return plan["peak_bytes"]["total"]; }
  static std::string bytes(int64_t number) { return std::to_string(number); }
};

TEST_F(Budget, ChoosesWhatFitsAndChangesNoBit) {
  const json resident = plan_wide(""), disk = plan_wide("memory.weights=disk");
  ASSERT_LT(peak_of(disk) + (16 << 20), peak_of(resident));
  const int64_t program = resident["host_bytes"].get<int64_t>() -
                          resident["peak_bytes"]["total"].get<int64_t>();
  const int64_t tensors = peak_of(disk) + (8 << 20);

  const Outcome whole = run_program(with_wide_model("run.name=whole"));
  ASSERT_EQ(whole.status, 0) << whole.output;
  const Outcome within = run_program(
      with_wide_model("run.name=within memory.budget=" + bytes(program + tensors)));
  ASSERT_EQ(within.status, 0) << within.output;
  EXPECT_THAT(within.output, HasSubstr("memory.budget = "));
  EXPECT_THAT(within.output, HasSubstr("memory.weights=disk"));
  EXPECT_LE(results("within")["peak_bytes"]["total"].get<int64_t>(),
            tensors + (4 << 20));  // what the program takes itself varies a little
  train::expect_equal_runs(folder_of("whole"), folder_of("within"));

  // What was chosen for one budget does not stand in another's way.
  const std::string chosen = (folder_of("within") / "config.yaml").string();
  for (const char* budget : {"20GiB", "free"}) {
    const Outcome wider =
        run_program("--config " + chosen + " --run-name wider memory.budget=" + budget +
                    " run.overwrite=true");
    ASSERT_EQ(wider.status, 0) << wider.output;
    EXPECT_THAT(wider.output, HasSubstr("memory.weights=resident"));
    train::expect_equal_runs(folder_of("whole"), folder_of("wider"));
  }
  const std::string wide = (folder_of("wider") / "config.yaml").string();
  const Outcome narrower = run_program("plan --json -q --config " + wide +
                                       " memory.budget=" + bytes(program + tensors));
  ASSERT_EQ(narrower.status, 0) << narrower.output;
  EXPECT_THAT(json::parse(narrower.output)["overrides"].get<std::string>(),
              HasSubstr("memory.weights=disk"));
}

TEST_F(Budget, TooLittleIsAnsweredWithTheLeastThatWouldDo) {
  const Outcome outcome = run_program(with_wide_model("memory.budget=1MiB"));
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.output, HasSubstr("error: memory.budget = 1MiB"));
  EXPECT_THAT(outcome.output, HasSubstr("the least is "));
  EXPECT_THAT(outcome.output, testing::Not(HasSubstr("loaded ")));
}

TEST_F(Budget, ThatIsNoAmountIsNamed) {
  const Outcome outcome = run_program(settings("memory.budget=lots"));
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.output, HasSubstr("memory.budget = lots"));
}

TEST_F(Budget, SettingsOfTheDiskWithoutOneAreWarnedOf) {
  const Outcome outcome = run_program(settings("memory.resident_blocks=1"));
  EXPECT_EQ(outcome.status, 0);
  EXPECT_THAT(outcome.output, HasSubstr("do nothing"));
}

TEST_F(Plan, TellsTheTrafficOfAStepAsItIs) {
  for (const std::string more :
       {"memory.weights=disk memory.ahead=1", "memory.weights=disk memory.ahead=0",
        "memory.weights=disk model.train=model.layers.1.*",
        "memory.states=disk optimizer.name=adam",
        "memory.kept=disk memory.activations=keep memory.ahead=0",
        "memory.kept=disk memory.weights=disk memory.activations=keep memory.ahead=0"}) {
    // The same rows in every step.
    const std::string rows = more + " data.limit=8 train.batch_size=8 train.epochs=4";
    const json plan = plan_of(rows);
    const Outcome run = run_program("-q" + settings(rows + " train.log_every=1"));
    ASSERT_EQ(run.status, 0) << run.output;
    const json last = train::raw_lines_of(folder_of("run")).back();
    EXPECT_GT(last["written_bytes"], 0) << more;
    EXPECT_EQ(plan["step_read_bytes"], last["read_bytes"]) << more;
    EXPECT_EQ(plan["step_written_bytes"], last["written_bytes"]) << more;
  }
}

// To the last bit. The vocabulary is wide enough for the bits to depend on the tokens
// that are evaluated together.
TEST_F(Plan, EvaluationGivesTheSameScoresUnderEveryPolicyAndInEveryHome) {
  const auto from = folder() / "wider.config";
  std::filesystem::copy(folder() / "model", from,
                        std::filesystem::copy_options::recursive);
  write_shape(from / "config.json", {{"vocab_size", 8192}});
  const Outcome made =
      run_program("init -q " + (from / "config.json").string() + " " + at("wider"));
  ASSERT_EQ(made.status, 0) << made.output;
  const auto scores = [](const std::string& settings) {
    const Outcome evaluated =
        run_program("evaluate -q --rows " + at("scores.jsonl") +
                    " model.path=" + at("wider") + " eval.data=" + at("val.jsonl") +
                    " run.dir=" + at("runs") + " eval.limit=48 " + settings);
    EXPECT_EQ(evaluated.status, 0) << evaluated.output;
    return read_file(at("scores.jsonl"));
  };
  const std::string usual = scores("");
  for (const char* settings :
       {"memory.weights=disk memory.ahead=1 memory.resident_blocks=1",
        "memory.states=disk memory.kept=disk memory.activations=1 "
        "memory.gradients=accumulate"})
    EXPECT_EQ(scores(settings), usual) << settings;
}

}  // namespace
}  // namespace lowmem::test
