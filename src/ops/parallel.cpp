#include "lowmem/ops/parallel.h"

// In this file alone: LibTorch's headers run loops on one thread, without a word, where
// they are compiled without OpenMP.
#if !defined(_OPENMP) && !defined(__clang_analyzer__)
#error "compile this file with OpenMP"
#endif
#include <ATen/Parallel.h>
#include <pthread.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "lowmem/core/error.h"
#include "lowmem/core/log.h"
#include "lowmem/core/units.h"
#include "lowmem/memory/rehearsal.h"

// Of OpenMP, whose header clang-tidy has not.
extern "C" {
int omp_get_num_threads();
void omp_set_dynamic(int);
int omp_get_max_active_levels();
void omp_set_max_active_levels(int);
}

namespace lowmem::ops {
namespace {

// Of the threads that OpenMP makes, in bytes: OMP_STACKSIZE, as "512k", or
// GOMP_STACKSIZE; 0 where neither says. OpenMP 5.2, section 21.2.
size_t stack_size() {
  const char* text = std::getenv("OMP_STACKSIZE");
  if (text == nullptr) text = std::getenv("GOMP_STACKSIZE");
  if (text == nullptr) return 0;
  char* end = nullptr;
  const unsigned long long number = std::strtoull(text, &end, 10);
  while (*end == ' ') ++end;
  constexpr int kBitsAUnit = 10;
  const size_t unit = std::string_view("bkmg").find(*end == '\0' ? 'k' : *end | 0x20);
  return unit == std::string_view::npos ? 0 : number << (kBitsAUnit * unit);
}

// What kernels of the libraries need of a thread's stack, with room to spare.
constexpr size_t kLeastStack = size_t{256} << 10;

// How many threads of `wanted` there can be at once beside this one.
int threads_given(int wanted) {
  std::mutex until_all_are_there;
  std::unique_lock wait(until_all_are_there);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  if (const size_t stack = stack_size(); stack > 0)
    pthread_attr_setstacksize(&attributes, stack);
  const auto wait_for = [](void* mutex) -> void* {
    const std::lock_guard lock(*static_cast<std::mutex*>(mutex));
    return nullptr;
  };
  std::vector<pthread_t> threads;
  pthread_t thread{};
  while (std::ssize(threads) < wanted &&
         pthread_create(&thread, &attributes, wait_for, &until_all_are_there) == 0)
    threads.push_back(thread);
  wait.unlock();
  for (const pthread_t each : threads) pthread_join(each, nullptr);
  pthread_attr_destroy(&attributes);
  return static_cast<int>(threads.size());
}

// A wrong digit in OMP_NUM_THREADS is not worth thousands of threads.
void keep_to_what_can_be_of_use() {
  constexpr int kEach = 8;
  const int asked = at::get_num_threads();
  const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  if (asked <= kEach * cores) return;
  log::warn(std::to_string(asked) + " threads are asked for (OMP_NUM_THREADS) on " +
            std::to_string(cores) + " processors: computing with " +
            std::to_string(cores));
  at::set_num_threads(cores);
}

// libgomp ends the process where a thread that it wants cannot be made.
void keep_to_what_the_system_gives() {
  const int asked = at::get_num_threads(), given = 1 + threads_given(asked - 1);
  if (given >= asked) return;
  log::warn("the system gives " + std::to_string(given) + " of " + std::to_string(asked) +
            " threads (ulimit -u, ulimit -v, OMP_STACKSIZE): computing with " +
            std::to_string(given));
  at::set_num_threads(given);
}

int team_of([[maybe_unused]] int asked) {
  int size = 1;
#pragma omp parallel num_threads(asked)
  {
#pragma omp single
    size = omp_get_num_threads();
  }
  return size;
}

}  // namespace

void settle_threads() {
  // Teams of changing size, and none at all: neither can be computed with.
  omp_set_dynamic(0);
  if (omp_get_max_active_levels() < 1) omp_set_max_active_levels(1);
  if (const size_t stack = stack_size(); stack > 0 && stack < kLeastStack)
    throw Error("OMP_STACKSIZE = " + format_bytes(static_cast<int64_t>(stack)),
                "is too little for a thread that computes",
                "Set it to 1m or more, or unset it");
  keep_to_what_can_be_of_use();
  keep_to_what_the_system_gives();
  const int asked = at::get_num_threads(), given = team_of(asked);
  if (given >= asked) return;
  log::warn("OpenMP gives " + std::to_string(given) + " of " + std::to_string(asked) +
            " threads (OMP_THREAD_LIMIT): computing with " + std::to_string(given));
  at::set_num_threads(given);
}

void parallel(int64_t count, int64_t grain,
              const std::function<void(int64_t, int64_t)>& f) {
  if (memory::rehearsing()) return;
  at::parallel_for(0, count, grain, f);
}

}  // namespace lowmem::ops
