#pragma once

#include <spdlog/spdlog.h>

namespace lowmem {

// The program's log is spdlog's default logger, written to standard error so that standard
// output stays clean for results: `log::info("read {} rows", n)`.
namespace log = spdlog;

// Plain lines without a time stamp; warnings and errors carry their level. `quiet` leaves
// warnings and errors only.
void set_up_log(bool quiet);

}  // namespace lowmem
