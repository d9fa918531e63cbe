// The YAML file, the command line, and the folders a run writes to.
#include <filesystem>

#include "bad_input/damaged.h"

namespace lowmem::test {
namespace {

namespace fs = std::filesystem;

// A YAML file of this text.
Damage yaml(const std::string& name, const std::string& text, const std::string& thing,
            const std::string& problem) {
  const auto make = [text](const Inputs& inputs) {
    inputs.write("run.yaml", text);
    return Arguments{"--config", inputs.at("run.yaml")};
  };
  return {name, make, "run.yaml" + thing, problem};
}

std::vector<Damage> damaged_yaml() {
  const std::string invalid = "is not valid YAML";
  const std::string aliases = "anchors (&) and aliases (*) are not supported";
  return {
      yaml("UnknownKeyInYaml", "optimizer:\n  learning_rate: 1\n", " line 2",
           "unknown key optimizer.learning_rate"),
      yaml("UnknownSection", "\noptimiser:\n  lr: 1\n", " line 2",
           "unknown key optimiser"),
      yaml("KeyTwice", "train:\n  epochs: 1\n  epochs: 2\n", " line 3",
           "the key epochs is given twice"),
      yaml("TextForAnInteger", "train:\n  epochs: many\n", " line 2: train.epochs",
           "expected an integer, found \"many\""),
      yaml("IntegerBeyond64Bits", "run:\n  seed: 99999999999999999999\n",
           " line 2: run.seed", "expected an integer of at most 64 bits"),
      yaml("WordThatIsNoChoice", "data:\n  on_bad_row: ignore\n",
           " line 2: data.on_bad_row", "expected stop | skip, found \"ignore\""),
      yaml("NumberIsNan", "optimizer:\n  lr: .nan\n", " line 2: optimizer.lr",
           "expected a finite number"),
      yaml("NumberBeyondDoubleInYaml", "optimizer:\n  lr: 1e999\n",
           " line 2: optimizer.lr", "a number that a double can hold"),
      yaml("Tab", "train:\n\tepochs: 1\n", " line 2", "is indented with a tab"),
      yaml("QuoteNotClosed", "model:\n  path: \"a\n  train: all\n", " line 2",
           "begins a quoted text that nothing ends"),
      yaml("StarWithoutQuotes", "model:\n  train: *.mlp\n", " line 2",
           "a text that begins with * is not in quotes"),
      yaml("Aliases", "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: &d [*c, *c]\n",
           " line 1", aliases),
      yaml("MergeKey", "train:\n  <<: *a\n", " line 2", "not"),
      yaml("Tag", "model:\n  path: !!python/object:os.system x\n", " line 2",
           "tags (!) are not supported"),
      yaml("DeepBrackets", "model: " + std::string(100'000, '['), " line 1",
           "is nested too deeply"),
      yaml("TwoDocuments", "train:\n  epochs: 1\n---\ntrain:\n  epochs: 2\n", " line 3",
           "a second YAML document begins"),
      yaml("ListForTheFile", "- train\n", " line 1", "expected sections with keys"),
      yaml("Binary",
           std::string("\x7F"
                       "ELF\0\1\2\xFF\xFE",
                       9),
           " line 1", "is not UTF-8"),
      yaml("BinaryInAscii",
           std::string("\x7F"
                       "ELF\0\1\2",
                       7),
           "", invalid),
      yaml("OfTwoMiB", std::string(2 << 20, '#'), "", "more than the 1.0 MiB"),
      wrong_arguments("ConfigFileMissing", {"--config", "/nowhere.yaml"}, "/nowhere.yaml",
                      "cannot be read (No such file or directory)"),
      wrong_arguments("ConfigFileIsAFolder", {"--config", "/tmp"}, "/tmp", "is a folder"),
      wrong_arguments("ConfigFileIsEndless", {"--config", "/dev/zero"}, "/dev/zero",
                      "is a pipe, device or socket"),
      {"ConfigFileEmptySoNoModelIsNamed",
       [](const Inputs& inputs) {
         inputs.write("run.yaml", "");
         return Arguments{"--config", inputs.at("run.yaml")};
       },
       "model.path", "is not given", Damage::Command::kNone},
  };
}
LOWMEM_DAMAGES(Yaml, damaged_yaml());

Damage line(const std::string& name, const Arguments& arguments, const std::string& thing,
            const std::string& problem) {
  return wrong_arguments(name, arguments, thing, problem);
}

Damage alone(Damage damage) {
  damage.command = Damage::Command::kNone;
  return damage;
}

std::vector<Damage> wrong_command_lines() {
  return {
      line("ConfigTwice", {"--config", "a.yaml", "--config", "b.yaml"}, "--config", ""),
      line("ConfigWithoutAFile", {"--config"}, "--config", ""),
      line("UnknownFlag", {"--frobnicate"}, "--frobnicate", ""),
      line("FlagOfWrongType", {"--epochs", "x"}, "train.epochs=x", "expected an integer"),
      line("UnknownCommand", {"trian"}, "trian",
           "is no command, and not of the form section.key=value"),
      line("EmptyArgument", {""}, "overrides", "is empty"),
      line("OverrideOfUnknownKey", {"optimizer.momentun=1"}, "optimizer.momentun=1",
           "unknown key optimizer.momentun"),
      line("OverrideOfASection", {"optimizer=adam"}, "optimizer=adam",
           "is a section, not a key"),
      line("OverrideOfBrackets", {"data.train=" + std::string(100'000, '[')},
           "data.train=[[", "is not a valid YAML list"),
      line("OverrideThatIsNotUtf8", {"train.epochs=\xFF\xFE"},
           "train.epochs=", "expected an integer"),
      line("WeightsOnTheHostOfACpu", {"memory.weights=host"}, "memory.weights = host",
           "is for a GPU"),
      line("StatesOnTheHostOfACpu", {"memory.states=host"}, "memory.states = host",
           "is for a GPU"),
      line("InputsOnTheHostOfACpu", {"memory.kept=host"}, "memory.kept = host",
           "is for a GPU"),
      line("GroupsThatCannotBeHalved",
           {"model.attention_span=shifted", "model.span_group=7"}, "model.span_group = 7",
           "is no even number"),
      line("EpochsNegative", {"train.epochs=-1"}, "train.epochs = -1",
           "must be at least 0"),
      line("EpochsHuge", {"train.epochs=9223372036854775807"}, "train.epochs = 92233",
           "must be at most"),
      line("MicroBatchAboveBatch", {"train.micro_batch_size=5"},
           "train.micro_batch_size = 5", "is more than the whole batch"),
      line("LearningRateNegative", {"optimizer.lr=-1"}, "optimizer.lr = -1.0",
           "must be a finite number from 0 up"),
      alone(line("EvaluateWithoutRows", {"evaluate", "model.path=x"}, "eval.data",
                 "is not given")),
      alone(line("InitWithoutArguments", {"init"}, "CONFIG", "")),
      alone(line("InitOfMissingConfig", {"init", "/nowhere.json", "/tmp/x/never"},
                 "/nowhere.json", "cannot be read")),
      alone(line("InitOfUnknownType", {"init", "a.json", "b", "--dtype", "fp8"},
                 "--dtype", "fp8")),
      alone(line("DemoOfNegativeSeed", {"demo", "/dev/null/demo", "--seed", "-1"},
                 "--seed", "is not a whole number from 0 up")),
      alone(line("DemoOfHugeSeed",
                 {"demo", "/dev/null/demo", "--seed", "99999999999999999999"}, "--seed",
                 "is not a whole number from 0 up")),
      line("EmptyConfig", {"--config", ""}, "--config", "is empty"),
      alone(line("FitOfNothing", {"plan", "--fit", ""}, "--fit", "is empty")),
      alone(line("FitBeyondAnyMachine",
                 {"plan", "model.path=x", "data.train=y", "--fit", "9000000TiB"},
                 "9000000TiB", "is more memory than any machine has")),
      alone(line("ReportOfNothing", {"report", "/nowhere"}, "/nowhere", "")),
  };
}
LOWMEM_DAMAGES(CommandLine, wrong_command_lines());

Damage run_name(const std::string& name, const std::string& value) {
  return wrong_arguments(name, {"run.name=" + value},
                         "run.name = ", "is not a plain folder name");
}

Damage path(const std::string& name, std::function<Arguments(const Inputs&)> make,
            const std::string& thing, const std::string& problem,
            Damage::Command command = Damage::Command::kTrain) {
  return {name, std::move(make), thing, problem, command};
}

std::vector<Damage> wrong_paths() {
  const std::string not_ready = "cannot be made ready for a run";
  return {
      run_name("NameAboveTheFolder", "../elsewhere"),
      run_name("NameIsTwoDots", ".."),
      run_name("NameIsAbsolute", "/tmp/elsewhere"),
      run_name("NameIsEmpty", "\"\""),
      run_name("NameWithALineFeed", "a\nb"),
      run_name("NameTooLong", std::string(201, 'x')),
      wrong_arguments("FolderOfRunsEmpty", {"run.dir="}, "run.dir", "is empty"),
      path(
          "FolderOfRunsIsAFile",
          [](const Inputs& inputs) {
            return Arguments{"run.dir=" + inputs.at("train.jsonl")};
          },
          "train.jsonl", "is a file"),
      wrong_arguments("FolderOfRunsTooLong", {"run.dir=/" + std::string(5000, 'x')}, "x",
                      not_ready),
      path(
          "RunIsAFile",
          [](const Inputs& inputs) {
            inputs.write("run", "mine");
            return Arguments{"run.dir=" + inputs.at("."), "run.name=run"};
          },
          "/run", "is a file"),
      path(
          "RunFolderOfOthers",
          [](const Inputs& inputs) {
            return Arguments{"run.dir=" + inputs.at("."), "run.name=model",
                             "run.overwrite=true", "model.path=/nowhere"};
          },
          "/model", "is not empty, and no run made it"),
      path(
          "RunFolderHoldsTheModel",
          [](const Inputs& inputs) {
            inputs.write("model/config.yaml", "");
            return Arguments{"run.dir=" + inputs.at("."), "run.name=model",
                             "run.overwrite=true"};
          },
          "/model", "which this run would replace"),
      path(
          "RunFolderHoldsTheModelBehindALink",
          [](const Inputs& inputs) {
            inputs.write("model/config.yaml", "");
            fs::create_directory_symlink(inputs.at("model"), inputs.at("run"));
            return Arguments{"run.dir=" + inputs.at("."), "run.name=run",
                             "run.overwrite=true"};
          },
          "/model", "which this run would replace"),
      path(
          "ModelIsALoopOfLinks",
          [](const Inputs& inputs) {
            fs::create_symlink("loop", inputs.at("loop"));
            return Arguments{"model.path=" + inputs.at("loop")};
          },
          "/loop", "symbolic links", Damage::Command::kEvaluate),
      path(
          "RowsAreALoopOfLinks",
          [](const Inputs& inputs) {
            fs::create_symlink("loop", inputs.at("loop"));
            return Arguments{"eval.data=" + inputs.at("loop")};
          },
          "/loop", "symbolic links", Damage::Command::kEvaluate),
  };
}
LOWMEM_DAMAGES(Paths, wrong_paths());

}  // namespace
}  // namespace lowmem::test
