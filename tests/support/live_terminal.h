#pragma once

#include <cstdlib>
#include <thread>

#include "lowmem/core/log.h"
#include "support/terminal.h"

namespace lowmem::test {

// Standard error on a terminal, for as long as a test lasts.
class LiveTerminal : public testing::Test {
 protected:
  static constexpr unsigned short kColumns = 60;

  void SetUp() override {
    saved_ = ::dup(STDERR_FILENO);
    ::dup2(terminal_.descriptor(), STDERR_FILENO);
    ::setenv("TERM", "xterm", 1);
    log::set_up(/*quiet=*/false);
  }
  void TearDown() override {
    ::dup2(saved_, STDERR_FILENO);
    ::close(saved_);
    log::set_up(/*quiet=*/false);
  }

  // What stands on the screen now.
  std::vector<std::string> shown() {
    screen_.write(terminal_.read());
    return screen_.lines();
  }
  // Until the line may be drawn again.
  static void wait() { std::this_thread::sleep_for(std::chrono::milliseconds(110)); }

  Terminal terminal_{kColumns};
  Screen screen_{kColumns};

 private:
  int saved_ = -1;
};

}  // namespace lowmem::test
