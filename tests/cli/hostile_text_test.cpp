// Text out of files, names and the command line, written so that a terminal would obey it
// and a reader of the log would take it for the program's own.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <fstream>

#include "cli/program.h"
#include "lowmem/core/plain_text.h"
#include "lowmem/io/safetensors_writer.h"

namespace lowmem::test {
namespace {

using nlohmann::json;
using testing::HasSubstr, testing::Not;
namespace fs = std::filesystem;

// An escape sequence that sets a title, a line of its own by every way to end one, C1,
// and an override of the direction.
const std::string kHostile =
    "x\x1b]0;owned\x07\nerror: forged\r\nerror: forged\u2028error: forged\u0085\u009b2J"
    "\u202egnp.";
const std::string kLegal = "Größe-模型-👍";

class HostileText : public DemoProgram {
 protected:
  // Standard output and error together of the program with these very words.
  static Outcome run(const std::vector<std::string>& words) {
    const fs::path file = folder() / "said";
    const pid_t child = fork();
    if (child == 0) {
      const int out = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
      ::dup2(out, 1);
      ::dup2(out, 2);
      std::vector<std::string> all = words;
      all.insert(all.begin(), LOWMEM_TRAIN);
      std::vector<char*> argv;
      for (std::string& word : all) argv.push_back(word.data());
      argv.push_back(nullptr);
      ::execv(LOWMEM_TRAIN, argv.data());
      ::_exit(127);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
            read_file(file)};
  }
  // Every line is plain, and none begins as the hostile text wants it to.
  static void expect_harmless(const Outcome& outcome) {
    std::istringstream lines(outcome.output);
    for (std::string line; std::getline(lines, line);) {
      EXPECT_TRUE(is_plain(line)) << plain(line);
      EXPECT_FALSE(line.starts_with("error: forged")) << outcome.output;
    }
  }
  static void expect_refused(const std::vector<std::string>& words) {
    const Outcome outcome = run(words);
    EXPECT_EQ(outcome.status, 1) << outcome.output;
    EXPECT_THAT(outcome.output, HasSubstr("forged"));  // it is named
    expect_harmless(outcome);
  }
  static std::vector<std::string> training(const std::string& name,
                                           const std::string& model = at("model")) {
    return {"model.path=" + model,   "data.train=" + at("train.jsonl"),
            "run.dir=" + at("runs"), "run.name=" + name,
            "train.max_steps=1",     "data.limit=4",
            "run.overwrite=true"};
  }
  static std::string copy_of_model(const std::string& name) {
    fs::copy(folder() / "model", folder() / name,
             fs::copy_options::recursive | fs::copy_options::overwrite_existing);
    return at(name);
  }
  static std::string file(const std::string& name, const std::string& text) {
    write_file_atomically(folder() / name, text);
    return at(name);
  }
};

TEST_F(HostileText, OnTheCommandLineIsHarmless) {
  expect_refused({kHostile});
  expect_refused({"--" + kHostile});
  expect_refused({"--" + kHostile, "x"});
  expect_refused({"plan", "--fit", kHostile, "model.path=" + at("model"),
                  "data.train=" + at("train.jsonl")});
  expect_refused({"data", "--show", kHostile});
  expect_refused({"init", at("model/config.json"), at("new"), "--dtype", kHostile});
  expect_refused({kHostile + "=1"});
  expect_refused({"train." + kHostile + "=1"});
  expect_refused({"train.epochs=" + kHostile});
  expect_refused({"optimizer.name=" + kHostile});
  expect_refused({"model.train=" + kHostile, "model.path=" + at("model"),
                  "data.train=" + at("train.jsonl")});
  expect_refused({"--config", at(kHostile)});
  expect_refused({"report", at(kHostile)});
}

TEST_F(HostileText, InARunsNameIsRefused) {
  auto words = training("x");
  std::string& name_word = words[3];
  name_word = "run.name=" + kHostile.substr(0, 60);
  expect_refused(words);
  for (const char* name : {"\u202egnp", "a\u0085", "\xff"}) {
    name_word = "run.name=" + std::string(name);
    const Outcome outcome = run(words);
    EXPECT_THAT(outcome.output, HasSubstr("is not a plain folder name"));
    expect_harmless(outcome);
  }
}

TEST_F(HostileText, InPathsIsHarmless) {
  const std::string model = copy_of_model("in" + kHostile);
  auto words = training("paths", model);
  words[2] = "run.dir=" + at("out" + kHostile);
  const Outcome trained = run(words);
  EXPECT_EQ(trained.status, 0) << plain_lines(trained.output);
  EXPECT_THAT(trained.output, HasSubstr("loaded "));
  EXPECT_THAT(trained.output, HasSubstr("wrote "));
  expect_harmless(trained);
  const Outcome resumed =
      run({"--config", at("out" + kHostile + "/paths/config.yaml"), "--resume"});
  EXPECT_EQ(resumed.status, 0) << plain_lines(resumed.output);
  expect_harmless(resumed);
  // What is meant for reading is plain as well, and reads back.
  std::ifstream yaml(at("out" + kHostile + "/paths/config.yaml"));
  for (std::string line; std::getline(yaml, line);) EXPECT_TRUE(is_plain(line)) << line;
  const Outcome report = run({"report", at("out" + kHostile + "/paths")});
  EXPECT_EQ(report.status, 0);
  expect_harmless(report);
  const Outcome demo = run({"demo", at("demo" + kHostile)});
  EXPECT_EQ(demo.status, 0);
  EXPECT_THAT(demo.output, HasSubstr("forged"));
  expect_harmless(demo);
}

TEST_F(HostileText, InTensorNamesIsHarmless) {
  const std::string model = copy_of_model("tensors");
  SafetensorsWriter writer(fs::path(model) / "model.safetensors",
                           {{kHostile, DType::kF32, {1}}});
  writer.write(kHostile, std::vector<std::byte>(4));
  writer.finish();
  const Outcome train = run(training("tensors", model));
  EXPECT_EQ(train.status, 1);
  expect_harmless(train);
}

TEST_F(HostileText, InConfigurationFilesIsHarmless) {
  // Each in quotes, as YAML takes it.
  std::string quoted = "\"";
  for (const char c : kHostile)
    quoted += c == '\n'     ? "\\n"
              : c == '\r'   ? "\\r"
              : c == '\x1b' ? "\\e"
              : c == '\x07' ? "\\a"
                            : std::string(1, c);
  quoted += "\"";
  expect_refused({"--config", file("key.yaml", quoted + ":\n  a: 1\n")});
  expect_refused({"--config", file("inner.yaml", "train:\n  " + quoted + ": 1\n")});
  expect_refused({"--config", file("value.yaml", "train:\n  epochs: " + quoted + "\n")});
  expect_refused({"--config", file("path.yaml",
                                   "model:\n  path: " + quoted +
                                       "\ndata:\n  train: " + at("train.jsonl") + "\n")});
}

TEST_F(HostileText, InRowsIsHarmless) {
  const auto data = [](const json& row) {
    return run({"data", "model.path=" + at("model"),
                "data.train=" + file("rows.jsonl", row.dump() + "\n")});
  };
  for (const json& row :
       {json{{kHostile, "a"}}, json{{"text", "a"}, {kHostile, "b"}},
        json{{"messages", {{{"role", kHostile}, {"content", "a"}}}}},
        json{{"messages", {{{kHostile, "user"}, {"content", "a"}}}}},
        json{{"prompt", kHostile}, {"completion", kHostile}}, json{{"text", kHostile}},
        json{{"ctx", "a"}, {"label", kHostile}, {"endings", json::array()}}})
    expect_harmless(data(row));
  const Outcome shown = data({{"text", kLegal + " " + kHostile}});
  EXPECT_EQ(shown.status, 0) << plain_lines(shown.output);
  expect_harmless(shown);
}

TEST_F(HostileText, InTokenizersIsHarmless) {
  const std::string model = copy_of_model("tokens");
  json tokenizer = read_json(fs::path(model) / "tokenizer.json");
  tokenizer["added_tokens"].push_back(
      {{"id", 0}, {"content", kHostile}, {"special", true}});
  write_file_atomically(fs::path(model) / "tokenizer.json", tokenizer.dump());
  json settings = read_json(fs::path(model) / "tokenizer_config.json");
  settings["bos_token"] = kHostile;
  settings[kHostile] = kHostile;
  write_file_atomically(fs::path(model) / "tokenizer_config.json", settings.dump());
  const Outcome data =
      run({"data", "model.path=" + model, "data.train=" + at("train.jsonl")});
  expect_harmless(data);
  json config = read_json(fs::path(model) / "config.json");
  config[kHostile] = kHostile;
  config["hidden_act"] = kHostile;
  write_file_atomically(fs::path(model) / "config.json", config.dump());
  expect_refused(training("tokens", model));
}

TEST_F(HostileText, InResultsOfRunsIsHarmless) {
  const Outcome trained = run(training("reported"));
  ASSERT_EQ(trained.status, 0) << trained.output;
  const fs::path results = folder_of("reported") / "results.json";
  json all = read_json(results);
  all["status"] = kHostile + "<script>";
  all["versions"] = {{"lowmem_train", kHostile + "\" onload=\""}, {"libtorch", kHostile}};
  write_file_atomically(results, all.dump());
  fs::rename(folder_of("reported"), folder_of("<b>" + kHostile + "\"'"));
  const Outcome report = run({"report", at("runs")});
  EXPECT_EQ(report.status, 0) << plain_lines(report.output);
  expect_harmless(report);
  const std::string html = read_file(folder() / "runs/report.html");
  EXPECT_THAT(html, Not(HasSubstr("<script>")));
  EXPECT_THAT(html, Not(HasSubstr("<b>")));
  EXPECT_THAT(html, Not(HasSubstr("\" onload")));
  std::istringstream lines(html);
  for (std::string line; std::getline(lines, line);)
    EXPECT_TRUE(is_plain(line)) << plain(line);
}

TEST_F(HostileText, TextOfOtherAlphabetsIsAsItIs) {
  auto words = training(kLegal, copy_of_model(kLegal));
  const Outcome trained = run(words);
  EXPECT_EQ(trained.status, 0) << trained.output;
  EXPECT_THAT(trained.output, HasSubstr("wrote " + at("runs/" + kLegal)));
  EXPECT_THAT(trained.output, HasSubstr("loaded " + at(kLegal)));
  const Outcome report = run({"report", at("runs/" + kLegal)});
  EXPECT_THAT(report.output, HasSubstr(kLegal));
  EXPECT_THAT(read_file(folder() / "runs/report.html"), HasSubstr("模型"));
}

}  // namespace
}  // namespace lowmem::test
