#pragma once

#include <string>
#include <string_view>

// One line below the log that is rewritten in place: what the program is doing right now.
// Only on a terminal; elsewhere, and with --quiet, no byte of it is written. Lines of the
// log appear above it. Thread-safe.
//
// The cursor rests at the beginning of the line below it, so that whatever ends the
// program, a kill included, leaves the shell a clean line for its prompt.
namespace lowmem::live_line {

// Whether there is one: standard error is a terminal that can move its cursor (TERM is
// set, and not to "dumb"), and the log is not quiet. log::set_up() decides it.
bool on();

// Whether it is on, a tenth of a second has passed since it was last written, and the
// program is in the foreground: a job in the background would write over what the user
// types. Asked before a line is made. Cost: a clock, and now and then a system call.
bool due();

// How many columns a line has, as of now.
int columns();

// Puts `text` in its place, cut to the terminal's width; "" takes it away. It is
// cleaned (core/plain_text.h).
void show(std::string_view text);

// For a handler of signals, in the middle of anything: a line of the log, above the live
// one. Nothing unless on(). `line` must stay: who is drawing just then writes it.
void write_from_signal(const char* line);

// Shows another text for as long as this object lives, and then again what was there.
class Scope {
 public:
  explicit Scope(std::string_view text);
  ~Scope();
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

 private:
  std::string outer_;
};

}  // namespace lowmem::live_line
