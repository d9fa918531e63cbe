#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <unistd.h>

#include <array>
#include <string>
#include <vector>

namespace lowmem::test {

// What a terminal shows of the bytes written to it. It knows what the program may use:
// line ends, carriage returns, "up a line" and "clear to the end of the screen"; all else
// fails the test, and so does a line too long for it.
class Screen {
 public:
  explicit Screen(size_t columns) : columns_(columns) {}

  void write(const std::string& bytes) {
    for (const char byte : bytes) put(byte);
  }

  // Without the empty line that the cursor rests on.
  std::vector<std::string> lines() const {
    std::vector<std::string> shown = lines_;
    if (shown.back().empty()) shown.pop_back();
    return shown;
  }
  bool cursor_on_a_fresh_line() const {
    return column_ == 0 && row_ + 1 == lines_.size() && lines_.back().empty();
  }

 private:
  void put(char byte) {
    if (!escape_.empty()) {
      escape_ += byte;
      if (byte >= '@' && byte <= '~' && byte != '[') obey();
    } else if (byte == '\x1b') {
      escape_ = byte;
    } else if (byte == '\r') {
      column_ = 0;
    } else if (byte == '\n') {
      if (++row_ == lines_.size()) lines_.emplace_back();
    } else {
      EXPECT_GE(static_cast<unsigned char>(byte), 0x20);
      std::string& line = lines_[row_];
      line.resize(std::max(line.size(), column_ + 1), ' ');
      line[column_++] = byte;
      EXPECT_LE(line.size(), columns_) << line;
    }
  }

  void obey() {
    if (escape_ == "\x1b[A" && row_ > 0) {
      --row_;
    } else if (escape_ == "\x1b[J") {
      lines_.resize(row_ + 1);
      lines_[row_].resize(std::min(lines_[row_].size(), column_));
    } else {
      ADD_FAILURE() << "unknown escape sequence, or one too many up: "
                    << escape_.substr(1);
    }
    escape_.clear();
  }

  size_t columns_;
  std::vector<std::string> lines_{""};
  size_t row_ = 0, column_ = 0;
  std::string escape_;
};

// A terminal of the given width; what is written to file descriptor() appears in read().
class Terminal {
 public:
  explicit Terminal(unsigned short columns) {
    winsize size{};
    size.ws_col = columns;
    size.ws_row = 24;
    EXPECT_EQ(::openpty(&master_, &slave_, nullptr, nullptr, &size), 0);
  }
  ~Terminal() {
    ::close(master_);
    ::close(slave_);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  int descriptor() const { return slave_; }

  // What has arrived since the last call.
  std::string read() const {
    std::string bytes;
    std::array<char, 4096> piece{};
    pollfd waiting{master_, POLLIN, 0};
    while (::poll(&waiting, 1, 0) == 1 && (waiting.revents & POLLIN) != 0) {
      const ssize_t n = ::read(master_, piece.data(), piece.size());
      if (n <= 0) break;
      bytes.append(piece.data(), static_cast<size_t>(n));
    }
    return bytes;
  }

 private:
  int master_ = -1, slave_ = -1;
};

}  // namespace lowmem::test
