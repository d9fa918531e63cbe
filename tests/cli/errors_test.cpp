// What a user can get wrong on the command line, answered in one line that helps.
#include <gmock/gmock.h>

#include "cli/program.h"

namespace lowmem::test {
namespace {

using testing::HasSubstr;

struct Mistake {
  const char* name;
  const char* arguments;  // after a valid quick run's
  std::vector<std::string> answer;
};

class Mistakes : public DemoProgram, public testing::WithParamInterface<Mistake> {};

TEST_P(Mistakes, AreNamedAndExitWithOne) {
  const Outcome run = run_program(quick("mistake") + GetParam().arguments);
  EXPECT_EQ(run.status, 1) << run.output;
  EXPECT_THAT(run.output, HasSubstr("error: "));
  for (const std::string& part : GetParam().answer)
    EXPECT_THAT(run.output, HasSubstr(part));
  EXPECT_FALSE(std::filesystem::exists(folder_of("mistake") / "results.json"));
}

INSTANTIATE_TEST_SUITE_P(
    Cli, Mistakes,
    testing::Values(
        Mistake{"UnknownKey", "optimizer.learning_rate=1", {"optimizer.lr"}},
        Mistake{"UnknownSection", "optimiser.lr=1", {"optimizer.lr"}},
        Mistake{"WrongType", "train.epochs=many", {"train.epochs", "many"}},
        Mistake{"NoAssignment", "frobnicate", {"frobnicate"}},
        Mistake{"UnknownFlag", "--frobnicate", {"--frobnicate"}},
        Mistake{"MissingModel", "model.path=/nowhere", {"/nowhere"}},
        Mistake{"MissingData", "data.train=/nowhere.jsonl", {"/nowhere.jsonl"}},
        Mistake{"MissingEval", "eval.data=/nowhere.jsonl", {"/nowhere.jsonl"}},
        Mistake{"MissingConfig", "--config /nowhere.yaml", {"/nowhere.yaml"}},
        Mistake{"PatternWithoutMatch",
                "model.train=model.layers.*.mpl.*",
                {"model.layers.*.mpl.*", "matches no weight"}},
        Mistake{"Cuda", "memory.device=cuda", {"memory.device"}},
        Mistake{"ClippingNeedsEveryGradient",
                "optimizer.clip_norm=1 memory.gradients=update",
                {"clip_norm", "memory.gradients"}},
        Mistake{"DecayThatAdafactorLacks",
                "optimizer.name=adafactor optimizer.weight_decay=1",
                {"optimizer.weight_decay"}},
        Mistake{"Divergence",
                "optimizer.name=sgd optimizer.lr=1e30",
                {"step ", "not finite", "optimizer.lr"}},
        Mistake{"RunNameEscapes", "run.name=../elsewhere", {"run.name"}}),
    [](const auto& given) { return given.param.name; });

class Inputs : public DemoProgram {};

TEST_F(Inputs, AreNeverReplacedByTheRunThatReadsThem) {
  const auto before = read_file(folder() / "model/model.safetensors");
  // The run's folder would be the demo's own.
  const Outcome run =
      run_program(quick("x") + "run.dir=" + folder().parent_path().string() +
                  " run.name=" + folder().filename().string() + " run.overwrite=true");
  EXPECT_EQ(run.status, 1);
  EXPECT_THAT(run.output, HasSubstr("which this run would replace"));
  EXPECT_EQ(read_file(folder() / "model/model.safetensors"), before);
}

TEST_F(Inputs, AFolderThatNoRunMadeIsLeftAlone) {
  std::filesystem::create_directories(folder_of("notes"));
  write_file_atomically(folder_of("notes") / "thesis.txt", "four years");
  const Outcome run = run_program(quick("notes"));
  EXPECT_EQ(run.status, 1);
  EXPECT_THAT(run.output, HasSubstr("no run made it"));
  EXPECT_EQ(read_file(folder_of("notes") / "thesis.txt"), "four years");
}

TEST(Cli, HelpNamesEveryKeyWithItsDefault) {
  const Outcome help = run_program("--help");
  EXPECT_EQ(help.status, 0);
  for (const char* key : {"optimizer", "lr", "micro_batch_size", "linear_cross_entropy",
                          "max_length", "bos"})
    EXPECT_THAT(help.output, HasSubstr(key));
  EXPECT_THAT(help.output, HasSubstr("evaluate"));
}

TEST(Cli, WithoutAModelSaysWhatIsMissing) {
  const Outcome run = run_program("");
  EXPECT_EQ(run.status, 1);
  EXPECT_THAT(run.output, HasSubstr("model.path"));
}

TEST_F(Inputs, QuietLeavesNothingButResults) {
  for (const std::string& arguments : {"-q demo " + at("a"), "demo -q " + at("b")}) {
    const Outcome run = run_program(arguments);
    EXPECT_EQ(run.status, 0);
    EXPECT_EQ(run.output, "");
  }
}

TEST(Cli, VersionIsPrinted) {
  const Outcome run = run_program("--version");
  EXPECT_EQ(run.status, 0);
  EXPECT_THAT(run.output, HasSubstr("0.1"));
}

}  // namespace
}  // namespace lowmem::test
