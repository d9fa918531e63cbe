#pragma once

namespace lowmem::cli {

// From here on SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2 and SIGXCPU ask the program to
// end rather than end it; a SIGINT after one of them ends it at once, with the status 128
// + SIGINT. One that the process was started to ignore, as nohup does with SIGHUP, stays
// ignored.
void catch_interrupts();

// The signal that has arrived; 0: none.
int interrupt();

}  // namespace lowmem::cli
