#include "interrupt.h"

#include <unistd.h>

#include <csignal>
#include <initializer_list>

#include "lowmem/core/live_line.h"

namespace lowmem::cli {
namespace {

volatile std::sig_atomic_t g_signal = 0;

// Batch systems send SIGTERM and SIGHUP together, and more than once; before they do they
// warn: Slurm with SIGUSR1 (--signal), Grid Engine and LSF with SIGUSR2, and where time
// on the processor is limited (ulimit -t) the system does with SIGXCPU, once a second.
void note(int signal) {
  if (g_signal != 0 && signal == SIGINT) _exit(128 + signal);
  if (g_signal != 0) return;
  g_signal = signal;
  // A step of a large model takes its time.
  if (signal == SIGINT)
    live_line::write_from_signal(
        "stopping as soon as what is done is saved; Ctrl-C again stops at once");
}

}  // namespace

void catch_interrupts() {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU}) {
    struct sigaction action {};
    if (sigaction(signal, nullptr, &action) != 0 || action.sa_handler == SIG_IGN)
      continue;
    action = {};
    action.sa_handler = note;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaction(signal, &action, nullptr);
  }
}

int interrupt() { return g_signal; }

}  // namespace lowmem::cli
