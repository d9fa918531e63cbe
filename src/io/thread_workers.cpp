#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>
#include <vector>

#include "io/transfer_workers.h"

namespace lowmem {
namespace {

constexpr int kThreads = 4;

class ThreadWorkers : public TransferWorkers {
 public:
  ThreadWorkers(TransferFile file, TransferQueue& queue) : file_(file), queue_(queue) {
    for (int i = 0; i < kThreads; ++i) {
      std::thread thread = thread_without_signals([this] { work(); });
      if (!thread.joinable()) break;
      threads_.push_back(std::move(thread));
    }
  }
  ~ThreadWorkers() override {
    if (threads_.empty()) return;
    queue_.close();
    for (std::thread& thread : threads_) thread.join();
  }

  bool has_any() const { return !threads_.empty(); }
  void wake() override {}  // they wait in take()
  std::string name() const override {
    return std::to_string(threads_.size()) +
           (threads_.size() == 1 ? " thread" : " threads");
  }

 private:
  void work() {
    while (const auto piece = queue_.take())
      queue_.ended(*piece, transfer(file_, *piece));
  }

  const TransferFile file_;
  TransferQueue& queue_;
  std::vector<std::thread> threads_;
};

// The page cache keeps nothing of it: what was written is first brought to the disk. The
// error number of what that refused, or 0.
int drop_from_cache(int descriptor, const Transfer& piece) {
  int code = 0;
  if (piece.is_write &&
      ::sync_file_range(descriptor, piece.offset, piece.size,
                        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
                            SYNC_FILE_RANGE_WAIT_AFTER) != 0)
    code = errno;
  ::posix_fadvise(descriptor, piece.offset, piece.size, POSIX_FADV_DONTNEED);
  // Not every file system can be asked.
  return code == ENOSYS || code == EINVAL || code == ESPIPE ? 0 : code;
}

}  // namespace

std::unique_ptr<TransferWorkers> make_thread_workers(TransferFile file,
                                                     TransferQueue& queue) {
  auto workers = std::make_unique<ThreadWorkers>(file, queue);
  return workers->has_any() ? std::move(workers) : nullptr;
}

int transfer(TransferFile file, const Transfer& piece) {
  Transfer rest = piece;
  while (rest.size > 0) {
    const auto size = static_cast<size_t>(rest.size);
    const ssize_t result = rest.is_write
                               ? ::pwrite(file.descriptor, rest.memory, size, rest.offset)
                               : ::pread(file.descriptor, rest.memory, size, rest.offset);
    if (const int code = take_result(rest, result < 0 ? -errno : result); code != 0)
      return code;
  }
  return file.is_direct ? 0 : drop_from_cache(file.descriptor, piece);
}

// Only whole blocks count, as the next must begin at one. Less than a block is read at
// the end of the file, and written where there is room for no more.
int take_result(Transfer& rest, int64_t result) {
  if (result == -EINTR || result == -EAGAIN) return 0;
  if (result < 0) return static_cast<int>(-result);
  if (result < DirectFile::kAlignment) return rest.is_write ? ENOSPC : kCutShort;
  rest = rest.after(result - result % DirectFile::kAlignment);
  return 0;
}

// Signals are for the program's own threads, which expect them.
std::thread thread_without_signals(std::function<void()> work) {
  sigset_t all, before;
  ::sigfillset(&all);
  if (::pthread_sigmask(SIG_SETMASK, &all, &before) != 0) return {};
  std::thread thread;
  try {
    thread = std::thread(std::move(work));
  } catch (const std::system_error&) {
    // No room for its stack, or no more threads allowed.
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

}  // namespace lowmem
