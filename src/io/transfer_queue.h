#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <vector>

#include "lowmem/core/error.h"
#include "lowmem/io/direct_file.h"

namespace lowmem {

// Bytes between memory and the file: a request, or a piece of one.
struct Transfer {
  bool is_write = false;
  int64_t offset = 0;  // in the file
  std::byte* memory = nullptr;
  int64_t size = 0;
  DirectFile::Ticket ticket = 0;

  // Without its first `bytes`.
  Transfer after(int64_t bytes) const;
};

// The code of a read that ends where the file does.
constexpr int kCutShort = -1;

// A DirectFile's requests in their order, between those who give them and the workers who
// take them in pieces. A piece begins when all before it have begun and none under way
// touches the same bytes.
class TransferQueue {
 public:
  using ErrorOf = std::function<Error(const Transfer&, int code)>;
  using Ticket = DirectFile::Ticket;

  // `error_of` makes the Error of a piece that failed.
  explicit TransferQueue(ErrorOf error_of);

  // For those who give; see DirectFile.
  Ticket add(Transfer request);
  bool done(Ticket ticket) const;
  void wait(Ticket ticket);
  void wait_all();
  DirectFile::Traffic traffic() const;
  // Drops what has not begun. Workers are to end.
  void close();

  // For workers. The next piece, once one may begin; none when closed.
  std::optional<Transfer> take();
  // The same without waiting: none also where none may begin now.
  std::optional<Transfer> take_now();
  // A piece has ended, with an error number, kCutShort or 0.
  void ended(const Transfer& piece, int code);
  bool is_closed() const;

 private:
  using Clock = std::chrono::steady_clock;
  struct Request {
    Transfer rest;  // what has not begun
    int64_t left;   // bytes that have not ended
  };

  // With the lock held.
  Ticket end() const { return first_ + requests_.size(); }
  Request& of(Ticket ticket) { return requests_[ticket - first_]; }
  bool is_done(Ticket ticket) const;
  Request* next();
  bool may_begin();
  Transfer begin();
  void settle(Request& request, int64_t bytes);
  void drop_rest();
  void forget_done();
  template <class Condition>
  void wait_until(Condition condition);

  const ErrorOf error_of_;
  mutable std::mutex mutex_;
  std::condition_variable may_begin_, settled_;
  std::deque<Request> requests_;     // from ticket first_ on
  Ticket first_ = 1, next_ = 1;      // next_: none before it has a rest
  std::vector<Transfer> under_way_;  // pieces
  int64_t unsettled_ = 0;            // requests that are not done
  std::optional<Error> failure_;
  bool closed_ = false;
  DirectFile::Traffic traffic_;  // without the time since busy_since_
  Clock::time_point busy_since_;
};

}  // namespace lowmem
