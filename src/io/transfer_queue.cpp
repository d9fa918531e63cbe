#include "io/transfer_queue.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "lowmem/core/units.h"

namespace lowmem {
namespace {

// Large enough that a disk is as fast as it can be, and small enough that several share a
// request.
constexpr int64_t kPiece = 4 * kMiB;

double seconds(std::chrono::steady_clock::duration time) {
  return std::chrono::duration<double>(time).count();
}

bool overlap(const std::byte* a, int64_t a_size, const std::byte* b, int64_t b_size) {
  return std::less<>()(a, b + b_size) && std::less<>()(b, a + a_size);
}

// Whether the order of the two shows: in the file if one writes it, in memory if one
// reads into it.
bool depend(const Transfer& a, const Transfer& b) {
  const bool in_file = a.offset < b.offset + b.size && b.offset < a.offset + a.size;
  return (in_file && (a.is_write || b.is_write)) ||
         ((!a.is_write || !b.is_write) && overlap(a.memory, a.size, b.memory, b.size));
}

}  // namespace

Transfer Transfer::after(int64_t bytes) const {
  Transfer rest = *this;
  rest.offset += bytes;
  rest.memory += bytes;
  rest.size -= bytes;
  return rest;
}

TransferQueue::TransferQueue(ErrorOf error_of) : error_of_(std::move(error_of)) {}

TransferQueue::Ticket TransferQueue::add(Transfer request) {
  const std::lock_guard lock(mutex_);
  request.ticket = end();
  if (failure_ || closed_) request.size = 0;
  requests_.push_back({request, request.size});
  if (request.size > 0 && unsettled_++ == 0) busy_since_ = Clock::now();
  forget_done();
  may_begin_.notify_all();
  return request.ticket;
}

bool TransferQueue::is_done(Ticket ticket) const {
  if (ticket >= end())
    throw std::logic_error("DirectFile: a ticket that it has not given");
  return ticket < first_ || requests_[ticket - first_].left == 0;
}

bool TransferQueue::done(Ticket ticket) const {
  const std::lock_guard lock(mutex_);
  return is_done(ticket);
}

template <class Condition>
void TransferQueue::wait_until(Condition condition) {
  std::unique_lock lock(mutex_);
  const auto over = [&] { return failure_ ? under_way_.empty() : condition(); };
  if (!over()) {
    const auto start = Clock::now();
    settled_.wait(lock, over);
    traffic_.waited_seconds += seconds(Clock::now() - start);
  }
  if (failure_) throw Error(*failure_);
}

void TransferQueue::wait(Ticket ticket) {
  wait_until([&] { return is_done(ticket); });
}

void TransferQueue::wait_all() {
  std::optional<Ticket> end_now;
  wait_until([&] {
    if (!end_now) end_now = end();
    return first_ >= *end_now;
  });
}

DirectFile::Traffic TransferQueue::traffic() const {
  const std::lock_guard lock(mutex_);
  DirectFile::Traffic traffic = traffic_;
  if (unsettled_ > 0) traffic.busy_seconds += seconds(Clock::now() - busy_since_);
  return traffic;
}

void TransferQueue::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  drop_rest();
  may_begin_.notify_all();
}

bool TransferQueue::is_closed() const {
  const std::lock_guard lock(mutex_);
  return closed_;
}

TransferQueue::Request* TransferQueue::next() {
  next_ = std::max(next_, first_);
  while (next_ < end() && of(next_).rest.size == 0) ++next_;
  return next_ < end() ? &of(next_) : nullptr;
}

bool TransferQueue::may_begin() {
  const Request* request = next();
  if (request == nullptr) return false;
  Transfer piece = request->rest;
  piece.size = std::min(piece.size, kPiece);
  return std::none_of(under_way_.begin(), under_way_.end(),
                      [&](const Transfer& other) { return depend(piece, other); });
}

Transfer TransferQueue::begin() {
  Request& request = *next();
  Transfer piece = request.rest;
  piece.size = std::min(piece.size, kPiece);
  request.rest = request.rest.after(piece.size);
  under_way_.push_back(piece);
  return piece;
}

std::optional<Transfer> TransferQueue::take() {
  std::unique_lock lock(mutex_);
  may_begin_.wait(lock, [&] { return closed_ || may_begin(); });
  return closed_ ? std::nullopt : std::optional(begin());
}

std::optional<Transfer> TransferQueue::take_now() {
  const std::lock_guard lock(mutex_);
  return may_begin() ? std::optional(begin()) : std::nullopt;
}

void TransferQueue::ended(const Transfer& piece, int code) {
  const std::lock_guard lock(mutex_);
  std::erase_if(under_way_, [&](const Transfer& other) {
    return other.ticket == piece.ticket && other.offset == piece.offset;
  });
  if (code == 0) {
    (piece.is_write ? traffic_.written : traffic_.read) += piece.size;
  } else if (!failure_) {
    failure_ = error_of_(piece, code);
    drop_rest();
  }
  settle(of(piece.ticket), piece.size);
  forget_done();
  may_begin_.notify_all();
}

// `bytes` of the request have ended, or never will begin.
void TransferQueue::settle(Request& request, int64_t bytes) {
  request.left -= bytes;
  if (bytes > 0 && request.left == 0 && --unsettled_ == 0)
    traffic_.busy_seconds += seconds(Clock::now() - busy_since_);
  if (request.left == 0 || failure_) settled_.notify_all();
}

void TransferQueue::drop_rest() {
  for (Request& request : requests_) settle(request, std::exchange(request.rest.size, 0));
}

void TransferQueue::forget_done() {
  while (!requests_.empty() && requests_.front().left == 0) {
    requests_.pop_front();
    ++first_;
  }
}

}  // namespace lowmem
