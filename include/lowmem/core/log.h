#pragma once

#include <string_view>

// The program's log: plain lines on standard error, so that standard output stays clean
// for results. Warnings and errors carry their level. Thread-safe.
//
// Behind it is spdlog, which this header keeps to itself: LibTorch ships another release
// of spdlog's formatting library, and one file cannot see both.
namespace lowmem::log {

// Before the first line. `quiet` leaves warnings and errors only.
void set_up(bool quiet);

// Lines are cleaned: core/plain_text.h, plain_lines().
void info(std::string_view line);
void warn(std::string_view line);
void error(std::string_view line);

}  // namespace lowmem::log
