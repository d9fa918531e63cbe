#pragma once

#include <string_view>

// The log's side of core/live_line.h.
namespace lowmem::live_line {

void set_up(bool quiet);

// Writes lines of the log, newlines included, above the live line.
void write_above(std::string_view lines);

}  // namespace lowmem::live_line
