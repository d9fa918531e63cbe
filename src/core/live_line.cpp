#include "lowmem/core/live_line.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <mutex>

#include "core/live_line_writer.h"
#include "lowmem/core/plain_text.h"

namespace lowmem::live_line {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds kBetween{100};
constexpr int kUsualColumns = 80;  // of a terminal that does not say

struct State {
  std::mutex mutex;
  std::atomic<bool> on = false;
  std::string text;                 // what is wanted
  std::atomic<bool> drawn = false;  // whether a line of it stands on the screen
  Clock::time_point last;
  // Whoever writes. A signal that finds it set leaves its line here.
  std::atomic_flag writing;
  std::atomic<const char*> from_signal = nullptr;
};

State& state() {
  static State state;
  return state;
}

// A terminal that is not the one this process was started from has no foreground.
bool in_foreground() {
  const pid_t group = ::tcgetpgrp(STDERR_FILENO);
  return group < 0 || group == ::getpgrp();
}

// A terminal that has gone away or refuses is no reason to stop.
void write_all(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(STDERR_FILENO, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

// As much of `text` as `columns` hold. From U+0800 on a character may be two wide.
std::string fitting(std::string_view text, int columns) {
  std::string kept;
  for (int used = 0; !text.empty();) {
    const auto [bytes, plain] = first_character(text);
    used += bytes >= 3 ? 2 : 1;
    if (used > columns) break;
    kept += plain ? text.substr(0, bytes) : "?";
    text.remove_prefix(bytes);
  }
  return kept;
}

// Up to the live line's first column; clears from there to the end of the screen, with
// what the user may have typed below it.
constexpr std::string_view kErase = "\r\x1b[A\x1b[J";
// Clears what was typed, as ^C.
constexpr std::string_view kEraseTyped = "\r\x1b[J";

// `lines` above, the live line below, in one write so that nothing flickers.
void redraw(State& s, std::string_view lines) {
  while (s.writing.test_and_set()) {  // the few bytes of a signal
  }
  std::string bytes;
  const bool foreground = in_foreground();
  if (s.drawn && foreground) bytes += kErase;
  bytes += lines;
  s.drawn = foreground && !s.text.empty();
  // One column stays free: a full line would wrap.
  if (s.drawn) bytes += fitting(s.text, columns() - 1) + "\n";
  write_all(bytes);
  s.last = Clock::now();
  s.writing.clear();
  if (const char* line = s.from_signal.exchange(nullptr))
    redraw(s, std::string(line) + "\n");
}

// Another text, or none. One that would come too soon after the last is drawn with what
// comes next.
void change(State& s, std::string_view text) {
  if (s.text == text) return;
  s.text = text;
  if (!s.drawn || text.empty() || Clock::now() - s.last >= kBetween) redraw(s, "");
}

}  // namespace

void set_up(bool quiet) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  const char* terminal = std::getenv("TERM");
  s.on = !quiet && ::isatty(STDERR_FILENO) == 1 && terminal != nullptr &&
         *terminal != '\0' && std::string_view(terminal) != "dumb";
  s.text.clear();
  s.drawn = false;
  s.last = {};
}

bool on() { return state().on; }

bool due() {
  State& s = state();
  if (!s.on) return false;
  const std::lock_guard lock(s.mutex);
  return Clock::now() - s.last >= kBetween && in_foreground();
}

int columns() {
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
    return kUsualColumns;
  return size.ws_col;
}

void show(std::string_view text) {
  State& s = state();
  if (!s.on) return;
  const std::lock_guard lock(s.mutex);
  change(s, text);
}

void write_above(std::string_view lines) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  redraw(s, lines);
}

void write_from_signal(const char* line) {
  State& s = state();
  if (!s.on) return;
  const int error = errno;
  s.from_signal = line;
  if (!s.writing.test_and_set()) {
    const bool foreground = in_foreground(), drawn = s.drawn && foreground;
    if (s.from_signal.exchange(nullptr) != nullptr) {
      if (foreground) write_all(drawn ? kErase : kEraseTyped);
      write_all(line);
      // The next to be drawn goes up a line first.
      write_all(drawn ? "\n\n" : "\n");
    }
    s.writing.clear();
  }
  errno = error;
}

Scope::Scope(std::string_view text) {
  State& s = state();
  if (!s.on) return;
  const std::lock_guard lock(s.mutex);
  outer_ = s.text;
  change(s, text);
}

Scope::~Scope() { show(outer_); }

}  // namespace lowmem::live_line
