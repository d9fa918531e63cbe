#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "io/transfer_queue.h"

namespace lowmem {

// What carries out the transfers of a queue, in the background, from its constructor on.
// The destructor closes the queue and returns when nothing is under way.
class TransferWorkers {
 public:
  virtual ~TransferWorkers() = default;
  // Something was added to the queue.
  virtual void wake() = 0;
  // "io_uring", "4 threads".
  virtual std::string name() const = 0;
};

// The file that they work on.
struct TransferFile {
  int descriptor = -1;
  bool is_direct = false;  // past the page cache
};

// Null where the kernel has no io_uring, lacks a part of it, or refuses it.
std::unique_ptr<TransferWorkers> make_ring_workers(TransferFile file,
                                                   TransferQueue& queue);
// Null where the system gives no thread; fewer where it gives fewer.
std::unique_ptr<TransferWorkers> make_thread_workers(TransferFile file,
                                                     TransferQueue& queue);

// Carries one out on this thread. Returns what TransferQueue::ended() is told.
int transfer(TransferFile file, const Transfer& piece);

// What the system call or ring that was given `rest` answers, `result` bytes or an error
// number below zero: takes them off `rest`, of which something remains where it is to be
// tried again, and returns what ended() is told otherwise.
int take_result(Transfer& rest, int64_t result);

// A thread that signals do not interrupt; none (not joinable) where the system gives
// none.
std::thread thread_without_signals(std::function<void()> work);

}  // namespace lowmem
