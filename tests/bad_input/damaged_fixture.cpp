#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <fstream>
#include <future>
#include <map>
#include <stdexcept>
#include <thread>

#include "bad_input/damaged.h"

namespace lowmem::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

constexpr auto kTimeLimit = std::chrono::seconds(20);

// Texts of the libraries and of the runtime, none of which is an answer to a user.
constexpr const char* kInside[] = {"std::",
                                   "what():",
                                   "terminate",
                                   "nlohmann",
                                   "json.exception",
                                   "yaml-cpp",
                                   "basic_string",
                                   "c10::",
                                   "Exception raised from",
                                   "unexpected failure",
                                   "filesystem error"};

std::string read_bytes(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Starts the program with its output in `log` and waits for it, though not longer than
// kTimeLimit.
Answer run(const Arguments& arguments, const fs::path& log) {
  std::vector<char*> argv = {const_cast<char*>(LOWMEM_TRAIN)};
  for (const std::string& word : arguments)
    argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, 1, log.c_str(), O_WRONLY | O_CREAT | O_APPEND,
                                   0600);
  posix_spawn_file_actions_adddup2(&files, 1, 2);
  pid_t child = 0;
  const int failure =
      posix_spawn(&child, LOWMEM_TRAIN, &files, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  if (failure != 0) throw std::runtime_error("cannot start " LOWMEM_TRAIN);

  Answer answer;
  int status = 0;
  const auto deadline = std::chrono::steady_clock::now() + kTimeLimit;
  while (waitpid(child, &status, WNOHANG) == 0) {
    if (!answer.hung && std::chrono::steady_clock::now() > deadline) {
      answer.hung = true;
      kill(child, SIGKILL);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  answer.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  answer.output = read_bytes(log);
  return answer;
}

// The contents of all regular files; of very large ones the size.
std::map<std::string, std::string> contents(const fs::path& folder) {
  std::map<std::string, std::string> contents;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    std::error_code code;
    if (!entry.is_regular_file(code)) continue;
    contents[entry.path().string()] = entry.file_size() > (8 << 20)
                                          ? std::to_string(entry.file_size())
                                          : read_bytes(entry.path());
  }
  return contents;
}

std::string first_lines(const fs::path& path, int count) {
  std::ifstream in(path);
  std::string lines, line;
  while (count-- > 0 && std::getline(in, line)) lines += line + "\n";
  return lines;
}

// Where all cases lie, and the undamaged inputs that they copy: the demo's, with a
// smaller model of a larger vocabulary, so that every fixture's tokenizer fits it.
class Cases : public testing::Environment {
 public:
  void SetUp() override {
    folder() = fs::temp_directory_path() / ("lowmem-bad-" + std::to_string(getpid()));
    fs::create_directories(folder() / "inputs");
    const fs::path demo = folder() / "demo";
    ASSERT_EQ(run({"-q", "demo", demo.string()}, folder() / "log").status, 0);
    for (const char* name : {"train.jsonl", "val.jsonl"})
      Inputs(folder() / "inputs").write(name, first_lines(demo / name, 16));
    nlohmann::json config = Inputs(demo).json("model/config.json");
    config["vocab_size"] = 1024;
    config["hidden_size"] = config["intermediate_size"] = 32;
    config["num_attention_heads"] = 4;
    config["head_dim"] = 8;
    Inputs(demo).write("model/config.json", config.dump());
    const Answer init = run({"-q", "init", (demo / "model/config.json").string(),
                             (folder() / "inputs/model").string(), "--dtype", "fp32"},
                            folder() / "log");
    ASSERT_EQ(init.status, 0) << init.output;
  }
  void TearDown() override;

  static fs::path& folder() {
    static fs::path path;
    return path;
  }
};

testing::Environment* const kCases = testing::AddGlobalTestEnvironment(new Cases);

// Runs cases ahead of their tests, so that two run at any time.
class Queue {
 public:
  void add(const std::vector<Damage>& damages) {
    for (const Damage& damage : damages) {
      if (!numbers_.emplace(damage.name, waiting_.size()).second)
        throw std::logic_error("two damages are called " + damage.name);
      waiting_.push_back({damage, {}});
    }
  }

  Answer answer(const std::string& name) {
    const size_t number = numbers_.at(name);
    start(number);
    start(number + 1);
    return waiting_[number].answer.get();
  }

  void finish() {
    for (Case& one : waiting_)
      if (one.answer.valid()) one.answer.wait();
  }

 private:
  struct Case {
    Damage damage;
    std::shared_future<Answer> answer;
  };

  void start(size_t number) {
    if (number >= waiting_.size() || waiting_[number].answer.valid()) return;
    waiting_[number].answer = std::async(std::launch::async, [this, number] {
      return answer_to(waiting_[number].damage);
    });
  }

  std::vector<Case> waiting_;
  std::map<std::string, size_t> numbers_;
};

Queue& queue() {
  static Queue queue;
  return queue;
}

void Cases::TearDown() {
  queue().finish();
  fs::remove_all(folder());
}

// The line that begins with "error: ", and the number of such lines.
std::pair<std::string, int> error_line(const std::string& output) {
  std::istringstream lines(output);
  std::string found, line;
  int count = 0;
  while (std::getline(lines, line)) {
    if (!line.starts_with("error: ")) continue;
    if (count++ == 0) found = line;
  }
  return {found, count};
}

// "error: THING: PROBLEM.", and behind it "       REMEDY." to the end of the output.
void expect_error(const std::string& output, const Damage& damage) {
  const auto [line, count] = error_line(output);
  EXPECT_EQ(count, 1);
  const size_t thing = line.find(damage.thing);
  EXPECT_NE(thing, std::string::npos) << "does not name " << damage.thing;
  EXPECT_NE(line.find(damage.problem, thing), std::string::npos)
      << "does not say \"" << damage.problem << "\" behind " << damage.thing;
  const std::string rest = output.substr(output.find(line) + line.size());
  EXPECT_TRUE(rest.starts_with("\n       ") && rest.size() > 20 && rest.ends_with(".\n"))
      << "does not say what to do";
  EXPECT_LT(line.size() + rest.size(), 2000u);
}

TEST_P(EveryDamage, IsRefused) {
  const Damage& damage = GetParam();
  const Answer answer = queue().answer(damage.name);
  SCOPED_TRACE(answer.output.substr(0, 4000));
  EXPECT_FALSE(answer.hung);
  EXPECT_EQ(answer.status, 1);
  expect_error(answer.output, damage);
  for (const char* text : kInside) EXPECT_THAT(answer.output, Not(HasSubstr(text)));
  EXPECT_FALSE(answer.has_results);
  EXPECT_THAT(answer.changed, testing::IsEmpty());
}

}  // namespace

std::string Inputs::read(const std::string& name) const { return read_bytes(at(name)); }

void Inputs::write(const std::string& name, const std::string& bytes) const {
  std::ofstream out(at(name), std::ios::binary);
  if (!(out << bytes).flush()) throw std::runtime_error("cannot write " + at(name));
}

nlohmann::json Inputs::json(const std::string& name) const {
  return nlohmann::json::parse(read(name));
}

void Inputs::remove(const std::string& name) const {
  if (!fs::remove(at(name))) throw std::runtime_error("there is no " + at(name));
}

void Inputs::take_tokenizer(const std::string& name) const {
  remove("model/tokenizer.json");
  remove("model/tokenizer_config.json");
  const fs::path from = fs::path(LOWMEM_FIXTURES) / "tokenizers" / name;
  for (const char* file : {"tokenizer.json", "tokenizer.model", "tokenizer_config.json"})
    if (fs::exists(from / file)) fs::copy_file(from / file, folder_ / "model" / file);
}

void Inputs::make_pipe(const std::string& name) const {
  fs::remove(at(name));
  if (mkfifo(at(name).c_str(), 0600) != 0) throw std::runtime_error("no pipe");
}

Damage damaged_json(const std::string& name, const std::string& file,
                    std::function<void(nlohmann::json&)> edit, const std::string& thing,
                    const std::string& problem) {
  const auto make = [file, edit](const Inputs& inputs) {
    nlohmann::json content = inputs.json(file);
    edit(content);
    inputs.write(file, content.dump(1));
    return Arguments();
  };
  return {name, make, thing, problem};
}

Damage damaged_file(const std::string& name, const std::string& file,
                    const std::string& bytes, const std::string& thing,
                    const std::string& problem) {
  const auto make = [file, bytes](const Inputs& inputs) {
    inputs.write(file, bytes);
    return Arguments();
  };
  return {name, make, thing, problem};
}

Damage wrong_arguments(const std::string& name, const Arguments& arguments,
                       const std::string& thing, const std::string& problem) {
  return {name, [arguments](const Inputs&) { return arguments; }, thing, problem};
}

Answer answer_to(const Damage& damage) {
  static std::atomic<int> count = 0;
  const fs::path folder = Cases::folder() / std::to_string(count++);
  const Inputs inputs(folder / "inputs");
  fs::create_directories(folder);
  fs::copy(Cases::folder() / "inputs", folder / "inputs", fs::copy_options::recursive);

  const Arguments more = damage.make(inputs);
  Arguments words;
  if (damage.command == Damage::Command::kEvaluate)
    words = {"evaluate", "eval.data=" + inputs.at("val.jsonl")};
  if (damage.command != Damage::Command::kNone)
    words.insert(words.end(),
                 {"model.path=" + inputs.at("model"), "model.dtype=fp32",
                  "model.compute_dtype=fp32", "data.train=" + inputs.at("train.jsonl"),
                  "run.dir=" + (folder / "runs").string(), "run.name=quick",
                  "train.max_steps=1", "train.batch_size=4", "optimizer.name=sgd"});
  // In their place what is damaged: the program takes no key twice.
  const auto key_of = [](const std::string& word) {
    return word.substr(0, word.find('='));
  };
  std::erase_if(words, [&](const std::string& word) {
    return std::any_of(more.begin(), more.end(), [&](const std::string& other) {
      return word.find('=') != word.npos && key_of(word) == key_of(other);
    });
  });
  words.insert(words.end(), more.begin(), more.end());

  const auto before = contents(folder / "inputs");
  Answer answer = run(words, folder / "log");
  const auto after = contents(folder / "inputs");
  for (const auto& [name, bytes] : before)
    if (!after.contains(name) || after.at(name) != bytes) answer.changed.push_back(name);
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    answer.has_results |= entry.path().filename() == "results.json";
  fs::remove_all(folder);
  return answer;
}

std::vector<Damage> queued(std::vector<Damage> damages) {
  queue().add(damages);
  return damages;
}

void PrintTo(const Damage& damage, std::ostream* out) { *out << damage.name; }

std::string damage_name(const testing::TestParamInfo<Damage>& info) {
  return info.param.name;
}

}  // namespace lowmem::test
