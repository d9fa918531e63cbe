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
        Mistake{"BareConfig", "mine.yaml", {"Write --config mine.yaml"}},
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

TEST(Mistake, AKeyWithTwoValuesIsWarnedOf) {
  for (const char* arguments :
       {"optimizer.lr=1e-4 optimizer.lr=2e-4", "--lr 1e-4 optimizer.lr=2e-4"}) {
    const Outcome run = run_command(std::string(LOWMEM_TRAIN) + " " + arguments);
    EXPECT_THAT(run.output, HasSubstr("warning: optimizer.lr is given twice, as 1e-4 and "
                                      "as 2e-4: the last one counts"));
  }
}

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

// A config.yaml alone may be anybody's, with a model of theirs beside it.
TEST_F(Inputs, AModelThatNoRunMadeIsLeftAlone) {
  std::filesystem::create_directories(folder_of("theirs") / "model");
  write_file_atomically(folder_of("theirs") / "config.yaml", "run: {name: theirs}\n");
  write_file_atomically(folder_of("theirs") / "model/model.safetensors", "a week");
  const Outcome run = run_program(quick("theirs"));
  EXPECT_EQ(run.status, 1);
  EXPECT_THAT(run.output, HasSubstr("no run made it"));
  EXPECT_EQ(read_file(folder_of("theirs") / "model/model.safetensors"), "a week");
}

TEST_F(Inputs, ATrainedModelWithoutItsResultsIsLeftAlone) {
  ASSERT_EQ(run_program(quick("moved")).status, 0);
  const auto model = folder_of("moved") / "model/model.safetensors";
  const std::string before = read_file(model);
  std::filesystem::remove(folder_of("moved") / "results.json");
  const Outcome run = run_program(quick("moved") + " run.seed=7");
  EXPECT_EQ(run.status, 1);
  EXPECT_THAT(run.output, HasSubstr("model: is there already"));
  EXPECT_EQ(read_file(model), before);
  EXPECT_EQ(run_program(quick("moved") + " run.seed=7 run.overwrite=true").status, 0);
  EXPECT_NE(read_file(model), before);
}

TEST_F(Inputs, DemoAndInitReplaceNothing) {
  for (const std::string name : {"train.jsonl", "val.jsonl"}) {
    const auto folder = folder_of("full_" + name);
    std::filesystem::create_directories(folder);
    write_file_atomically(folder / name, "mine");
    const Outcome demo = run_program("demo " + folder.string());
    EXPECT_EQ(demo.status, 1);
    EXPECT_THAT(demo.output, HasSubstr(name + ": is there already"));
    EXPECT_EQ(read_file(folder / name), "mine");
    EXPECT_FALSE(std::filesystem::exists(folder / "model"));
  }
  for (const std::string name : {"model.safetensors", "tokenizer.json"}) {
    const auto folder = folder_of("full_" + name);
    std::filesystem::create_directories(folder);
    write_file_atomically(folder / name, "mine");
    const Outcome init =
        run_program("init " + (this->folder() / "model/config.json").string() + " " +
                    folder.string());
    EXPECT_EQ(init.status, 1);
    EXPECT_THAT(init.output, HasSubstr("is not empty: it holds " + name));
    EXPECT_EQ(read_file(folder / name), "mine");
  }
}

TEST_F(Inputs, RowsOfAnEvaluationNeedAFolder) {
  const Outcome run =
      run_program("evaluate model.path=" + (folder() / "model").string() +
                  " eval.data=" + (folder() / "val.jsonl").string() +
                  " eval.limit=2 --rows " + (folder() / "nowhere/rows.jsonl").string());
  EXPECT_EQ(run.status, 1);
  EXPECT_THAT(run.output, HasSubstr("which is no folder"));
  EXPECT_THAT(run.output, testing::Not(HasSubstr("loaded ")));
}

TEST_F(Inputs, WarmUpBeyondTheRunIsWarnedOf) {
  const Outcome run = run_program(quick("cold") + " optimizer.warmup_steps=1000");
  EXPECT_EQ(run.status, 0);
  EXPECT_THAT(run.output, HasSubstr("optimizer.warmup_steps = 1,000, and the run has "));
}

TEST(Cli, HelpNamesEveryKeyWithItsDefault) {
  const Outcome help = run_program("--help");
  EXPECT_EQ(help.status, 0);
  for (const char* key : {"optimizer", "lr", "micro_batch_size", "linear_cross_entropy",
                          "max_length", "bos"})
    EXPECT_THAT(help.output, HasSubstr(key));
  EXPECT_THAT(help.output, HasSubstr("evaluate"));
}

TEST(Cli, OptionsBeforeACommandAreRefused) {
  for (const char* before : {"-c nothere.yaml", "bogus.key=1", "--lr abc", "--resume"}) {
    const Outcome run = run_program(std::string(before) + " plan");
    EXPECT_EQ(run.status, 1) << run.output;
    EXPECT_THAT(run.output, HasSubstr("stands before the command plan")) << before;
  }
  EXPECT_THAT(run_program("--lr 1 plan").output, HasSubstr("after the command's name"));
  EXPECT_THAT(run_program("model.path=x plan").output,
              HasSubstr("after the command's name"));
  EXPECT_THAT(run_program("--resume plan").output,
              HasSubstr("Leave it out: plan has no such argument"));
  EXPECT_THAT(run_program("-c x.yaml report runs").output,
              HasSubstr("Leave it out: report has no such argument"));
  EXPECT_THAT(run_program("model.path=x report runs").output,
              HasSubstr("Leave it out: report has no such argument"));
}

TEST(Cli, MistakesPointToTheirCommandsHelp) {
  EXPECT_THAT(run_program("data --show").output,
              HasSubstr("See lowmem-train data --help"));
  EXPECT_THAT(run_program("--frobnicate").output, HasSubstr("See lowmem-train --help"));
}

TEST_F(Inputs, ModelIsAFolder) {
  const Outcome run = run_program("data data.train=" + at("train.jsonl") +
                                  " model.path=" + at("model/config.json"));
  EXPECT_EQ(run.status, 1);
  EXPECT_THAT(run.output, HasSubstr("is a file.\n       Give the folder of the model"));
  for (const char* file : {"model/model.safetensors", "train.jsonl"}) {
    const Outcome plan =
        run_program("plan data.train=" + at("train.jsonl") + " model.path=" + at(file));
    EXPECT_EQ(plan.status, 1);
    EXPECT_THAT(plan.output, HasSubstr("is a file, and not a config.json.\n"
                                       "       Give the folder of the model"));
  }
}

TEST_F(Inputs, FilesThatTheLimitLeavesOutMustBeThere) {
  const Outcome run =
      run_program("data data.limit=2 model.path=" + at("model") + " data.train=[" +
                  at("train.jsonl") + ",/nowhere.jsonl]");
  EXPECT_EQ(run.status, 1);
  EXPECT_THAT(run.output, HasSubstr("/nowhere.jsonl"));
}

TEST_F(Inputs, InitSaysThatATokenizerIsMissing) {
  std::filesystem::create_directories(folder() / "bare");
  std::filesystem::copy(folder() / "model/config.json", folder() / "bare/config.json");
  const Outcome bare = run_program("init " + at("bare/config.json") + " " + at("random"));
  EXPECT_EQ(bare.status, 0) << bare.output;
  EXPECT_THAT(bare.output, HasSubstr("random has no tokenizer"));
  const Outcome whole =
      run_program("init " + at("model/config.json") + " " + at("whole"));
  EXPECT_THAT(whole.output, testing::Not(HasSubstr("tokenizer")));
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
  EXPECT_THAT(run.output, HasSubstr("0.2"));
}

}  // namespace
}  // namespace lowmem::test
