#pragma once

#include <cstdint>

// What is left to be said when memory is out, and what must be said before any library
// begins: main() is too late for a stack that is too small, and for a current folder that
// is gone. Both are asked in any program that calls set_up().
namespace lowmem::last_resort {

// Holds a little memory back, which the first allocation that fails gives free before it
// throws: what answers the failure needs some itself. In a program that calls this, an
// exception that nobody can catch (of a thread, of a function that may not throw, before
// or after main) ends it with one line, and status 1, where memory or threads are out;
// else with an abort as ever.
void set_up();

// Bytes that set_up() holds.
inline constexpr int64_t kHeld = 1 << 20;

}  // namespace lowmem::last_resort
