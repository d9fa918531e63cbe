#include "lowmem/core/last_resort.h"

#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <exception>
#include <new>
#include <string_view>
#include <system_error>

namespace lowmem::last_resort {
namespace {

std::atomic<void*> g_held = nullptr;
std::terminate_handler g_before = std::abort;

void give_back() { std::free(g_held.exchange(nullptr)); }

[[noreturn]] void no_memory() {
  give_back();
  throw std::bad_alloc();
}

// Without memory of its own.
[[noreturn]] void say_and_exit(std::string_view line) {
  while (!line.empty()) {
    const ssize_t n = ::write(STDERR_FILENO, line.data(), line.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    line.remove_prefix(static_cast<size_t>(n));
  }
  ::_exit(1);
}

[[noreturn]] void nobody_caught() {
  static std::atomic_flag said;
  if (said.test_and_set()) ::_exit(1);  // another thread is at it
  give_back();
  try {
    if (const auto exception = std::current_exception())
      std::rethrow_exception(exception);
  } catch (const std::bad_alloc&) {
    say_and_exit(
        "error: memory: is exhausted.\n       Lift the limit on the process (ulimit -v, "
        "a "
        "container's), or use a smaller train.batch_size.\n");
  } catch (const std::system_error& error) {
    if (error.code() == std::errc::resource_unavailable_try_again)
      say_and_exit(
          "error: threads: the system gives no more.\n       Lift the limit (ulimit -u, "
          "a "
          "container's), or set OMP_NUM_THREADS to fewer.\n");
  } catch (...) {  // a bug, which the handler before this one shows
  }
  g_before();
  std::abort();
}

// MKL ends the process in a folder that is gone, before main, with a line that names
// another cause.
void refuse_folder_that_is_gone() {
  char path[PATH_MAX];
  if (::getcwd(path, sizeof path) == nullptr && errno == ENOENT)
    say_and_exit(
        "error: the current folder: is gone.\n       Go to one that is there; `cd "
        "\"$PWD\"` "
        "does where it was made anew.\n");
}

// A stack that is too small would be a crash. Of this thread it grows as far as the limit
// then is; of others it is set when they are made.
void have_stack() {
  constexpr rlim_t kLeast = 1 << 20;
  rlimit limit{};
  if (::getrlimit(RLIMIT_STACK, &limit) != 0 || limit.rlim_cur >= kLeast) return;
  limit.rlim_cur = std::min(kLeast, limit.rlim_max);
  if (limit.rlim_cur < kLeast || ::setrlimit(RLIMIT_STACK, &limit) != 0)
    say_and_exit(
        "error: stack: the process may have less than the 1 MiB that it needs.\n       "
        "Raise the limit, as with `ulimit -s 8192`.\n");
  pthread_attr_t attributes;
  if (::pthread_getattr_default_np(&attributes) != 0) return;
  ::pthread_attr_setstacksize(&attributes, kLeast);
  ::pthread_setattr_default_np(&attributes);
  ::pthread_attr_destroy(&attributes);
}

// Before the first constructor of any library: LibTorch's make tens of thousands of small
// objects before main. `set_up` makes sure that this file is linked.
void begin() {
  g_before = std::set_terminate(nobody_caught);
  have_stack();
  refuse_folder_that_is_gone();
}
[[gnu::section(".preinit_array"), gnu::used]] void (*const g_begin)() = begin;

}  // namespace

void set_up() {
  g_held = std::malloc(static_cast<size_t>(kHeld));
  std::set_new_handler(no_memory);
}

}  // namespace lowmem::last_resort
