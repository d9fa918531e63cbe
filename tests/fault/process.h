#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <thread>

#include "cli/program.h"

namespace lowmem::test {

// The program as a process of its own, to be signalled, killed and starved.
class Process {
 public:
  // `prepare` runs in the new process before the program does; false: it cannot be done
  // here, which status() tells as kNotPrepared.
  static constexpr int kNotPrepared = 99;
  static constexpr std::chrono::minutes kHang{5};

  explicit Process(const std::string& arguments,
                   const std::function<bool()>& prepare = {}) {
    static int number = 0;
    output_ =
        std::filesystem::temp_directory_path() /
        ("lowmem-output-" + std::to_string(getpid()) + "-" + std::to_string(number++));
    const Argv words(arguments);
    pid_ = fork();
    if (pid_ == 0) {
      const int out = ::open(output_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
      ::dup2(out, 1);
      ::dup2(out, 2);
      ::dup2(::open("/dev/null", O_RDONLY), 0);
      if (prepare && !prepare()) _exit(kNotPrepared);
      ::execv(LOWMEM_TRAIN, words.argv());
      _exit(127);
    }
  }
  ~Process() {
    if (!ended_) {
      send(SIGKILL);
      status();
    }
    std::filesystem::remove(output_);
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  void send(int signal) const { ::kill(pid_, signal); }

  bool has_ended() {
    if (!ended_) ended_ = ::waitpid(pid_, &raw_, WNOHANG) == pid_;
    return ended_;
  }

  // Waits for the end; after five minutes it is a hang, and killed. The exit status, or
  // 128 + signal.
  int status() {
    const auto end = std::chrono::steady_clock::now() + kHang;
    while (!has_ended()) {
      if (std::chrono::steady_clock::now() > end) {
        ADD_FAILURE() << "hangs; so far it said\n" << output();
        send(SIGKILL);
        ended_ = ::waitpid(pid_, &raw_, 0) == pid_;
        break;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return WIFEXITED(raw_) ? WEXITSTATUS(raw_) : 128 + WTERMSIG(raw_);
  }

  // Both streams so far.
  std::string output() const {
    std::ifstream in(output_, std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
  }

  // Until the output holds `text`, or the process has ended.
  bool wait_for(const std::string& text) {
    return wait_until([&] { return output().find(text) != std::string::npos; });
  }
  bool wait_until(const std::function<bool()>& condition) {
    const auto end = std::chrono::steady_clock::now() + kHang;
    while (!condition()) {
      if (has_ended() || std::chrono::steady_clock::now() > end) return condition();
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
    return true;
  }

 private:
  pid_t pid_ = -1;
  std::filesystem::path output_;
  bool ended_ = false;
  int raw_ = 0;
};

// What every failure must look like to a user: one error, no crash, no stack.
inline void expect_one_error(Process& process, const std::string& about) {
  EXPECT_EQ(process.status(), 1) << process.output();
  const std::string said = process.output();
  size_t errors = 0;
  for (size_t at = said.find("error: "); at != std::string::npos;
       at = said.find("error: ", at + 1))
    ++errors;
  EXPECT_EQ(errors, 1u) << said;
  EXPECT_NE(said.find(about), std::string::npos) << said;
  for (const char* trace : {"terminate", "what():", "c10::", "std::",
                            "unexpected failure", "Exception raised"})
    EXPECT_EQ(said.find(trace), std::string::npos) << said;
}

}  // namespace lowmem::test
