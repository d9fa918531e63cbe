#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

namespace lowmem {

// A working file for what does not fit in memory: without a name, gone with the process
// however that ends, and read and written in the background past the page cache, which it
// would only fill.
//
//   DirectFile file(folder);
//   const int64_t at = file.extend(bytes);
//   file.write(at, block);                   // at once back; `block` must stay as it is
//   const auto ticket = file.read(at, other);  // of what was written
//   file.wait(ticket);
//
// Requests that touch the same bytes of the file or of memory take effect in the order in
// which they were given; others may overtake one another. Memory that was given must live
// until its request has been waited for, or the file is destroyed.
//
// What the disk refuses is the Error of a wait. A file that has failed stays failed: what
// has not begun is dropped, and every wait throws the first error, once nothing is under
// way any more and all memory is the caller's again. Calls that are bugs throw
// std::logic_error. A process that runs under a file size limit must ignore SIGXFSZ to
// see the Error. Thread-safe.
class DirectFile {
 public:
  enum class Way {
    // The first of these that the system has: kRing, kThreads, kPageCache.
    kAuto,
    kRing,       // O_DIRECT, through io_uring; Error where it is refused
    kThreads,    // O_DIRECT on threads, or kPageCache where the file system refuses that
    kPageCache,  // through the page cache, on threads, which drop what they have used
  };
  // Of memory, offsets and sizes.
  static constexpr int64_t kAlignment = 4096;

  // Makes the file. Throws Error where `folder` cannot hold one.
  explicit DirectFile(std::filesystem::path folder, Way way = Way::kAuto);
  // Waits for what is under way and drops what has not begun.
  ~DirectFile();
  DirectFile(const DirectFile&) = delete;
  DirectFile& operator=(const DirectFile&) = delete;

  // Room for `bytes` more at the end, set aside on the disk where its file system can, so
  // that a full one shows now. Returns the offset of the first. What is read of it before
  // it is written is zeros. Throws Error, and then the file is as it was.
  int64_t extend(int64_t bytes);
  int64_t size() const;

  // Names a request. Tickets ascend from 1; 0 is done.
  using Ticket = uint64_t;
  // The range must lie in what extend() returned.
  Ticket read(int64_t offset, std::span<std::byte> to);
  Ticket write(int64_t offset, std::span<const std::byte> from);

  // Whether nothing of it is under way or to come, without waiting. True too of a request
  // that failed.
  bool done(Ticket ticket) const;
  // Until it is done. Throws Error where the file has failed, whichever request it was.
  void wait(Ticket ticket);
  // Until all are that were given before.
  void wait_all();

  struct Traffic {
    int64_t read = 0, written = 0;  // bytes
    double busy_seconds = 0;        // with a request that is not done
    double waited_seconds = 0;      // in wait() and wait_all(), of all threads
  };
  Traffic traffic() const;

  const std::filesystem::path& folder() const;
  // "direct, io_uring", "direct, 4 threads", "page cache, 4 threads"; "direct, no
  // threads" where the system gives none: then read() and write() return when it is done.
  std::string way() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lowmem
