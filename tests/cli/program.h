#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "lowmem/core/files.h"
#include "lowmem/io/atomic_file.h"

namespace lowmem::test {

struct Outcome {
  int status = 0;      // exit status, or 128 + signal
  std::string output;  // standard output and error together
};

// Runs a command as a user would, through a shell.
inline Outcome run_command(const std::string& command) {
  Outcome outcome;
  FILE* pipe = popen((command + " 2>&1 </dev/null").c_str(), "r");
  std::array<char, 4096> piece{};
  for (size_t n = 0; (n = fread(piece.data(), 1, piece.size(), pipe)) > 0;)
    outcome.output.append(piece.data(), n);
  const int status = pclose(pipe);
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return outcome;
}

// `arguments` with the last value alone of each key that is there twice, which the
// program refuses: tests add to what others set. Keys and values without spaces and
// quotes.
inline std::string with_last_values(std::string arguments) {
  std::set<std::string> seen;
  for (size_t end = arguments.size(); end > 0;) {
    const size_t last = arguments.find_last_not_of(" \n", end - 1);
    if (last == std::string::npos) break;
    const size_t space = arguments.find_last_of(" \n", last);
    const size_t begin = space == std::string::npos ? 0 : space + 1;
    const std::string word = arguments.substr(begin, last + 1 - begin);
    const std::string key = word.substr(0, word.find('='));
    const bool assigns = key.size() < word.size() && key.find('.') != std::string::npos;
    const bool quoted = word.find_first_of("'\"\\") != std::string::npos;
    if (assigns && !seen.insert(key).second && !quoted)
      arguments.erase(begin, word.size());
    end = begin;
  }
  return arguments;
}

// What execv() wants: the program's name and the words of `arguments`.
class Argv {
 public:
  explicit Argv(const std::string& arguments) {
    std::istringstream in(with_last_values(arguments));
    for (std::string word; in >> word;) words_.push_back(word);
    for (std::string& word : words_) pointers_.push_back(word.data());
    pointers_.push_back(nullptr);
  }
  char* const* argv() const { return pointers_.data(); }

 private:
  std::vector<std::string> words_{LOWMEM_TRAIN};
  std::vector<char*> pointers_;
};

inline Outcome run_program(const std::string& arguments) {
  return run_command(std::string(LOWMEM_TRAIN) + " " + with_last_values(arguments));
}

// A demo in a temporary folder, shared by the tests of a suite, and runs beside it.
class DemoProgram : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder() = std::filesystem::temp_directory_path() /
               ("lowmem-cli-" + std::to_string(getpid()));
    const Outcome demo = run_program("demo " + folder().string());
    ASSERT_EQ(demo.status, 0) << demo.output;
  }
  static void TearDownTestSuite() { std::filesystem::remove_all(folder()); }

  static std::filesystem::path& folder() {
    static std::filesystem::path path;
    return path;
  }
  static std::string at(const std::string& name) { return (folder() / name).string(); }

  // Overrides that make a quick training run called `name`.
  static std::string quick(const std::string& name) {
    return " model.path=" + at("model") + " data.train=" + at("train.jsonl") +
           " run.dir=" + at("runs") + " run.name=" + name +
           " model.dtype=fp32 model.compute_dtype=fp32 train.batch_size=4"
           " train.max_steps=6 train.log_every=2 optimizer.lr=0.003 optimizer.name=adam ";
  }
  static std::filesystem::path folder_of(const std::string& run) {
    return folder() / "runs" / run;
  }
  static nlohmann::json results(const std::string& name) {
    return read_json(folder() / "runs" / name / "results.json");
  }
  // The highest of the phases that a step is made of.
  static int64_t training_peak(const nlohmann::json& peaks) {
    int64_t most = 0;
    for (const char* phase : {"forward", "backward", "update"})
      most = std::max(most, peaks[phase].get<int64_t>());
    return most;
  }
  // A config.json at `to` with the demo's settings, but another shape.
  static void write_shape(const std::filesystem::path& to, const nlohmann::json& shape) {
    nlohmann::json config = read_json(folder() / "model" / "config.json");
    config.update(shape);
    write_file_atomically(to, config.dump());
  }
};

}  // namespace lowmem::test
