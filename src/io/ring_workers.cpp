#include <liburing.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>

#include "io/transfer_workers.h"
#include "lowmem/io/descriptor.h"

namespace lowmem {
namespace {

constexpr int kDepth = 8;  // pieces under way; a disk gains nothing from more

// An io_uring with reads and writes, or none.
class Ring {
 public:
  explicit Ring(unsigned entries) {
    if (::io_uring_queue_init(entries, &ring_, 0) != 0) return;
    io_uring_probe* known = ::io_uring_get_probe_ring(&ring_);
    is_open_ = known != nullptr && ::io_uring_opcode_supported(known, IORING_OP_READ) &&
               ::io_uring_opcode_supported(known, IORING_OP_WRITE);
    if (known != nullptr) ::io_uring_free_probe(known);
    if (!is_open_) ::io_uring_queue_exit(&ring_);
  }
  ~Ring() {
    if (is_open_) ::io_uring_queue_exit(&ring_);
  }
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  bool is_open() const { return is_open_; }
  io_uring* get() { return &ring_; }

 private:
  io_uring ring_{};
  bool is_open_ = false;
};

// One thread, which sleeps in the kernel until a piece has ended or wake() is called: a
// read of `wake_` is always among what the ring has to do.
class RingWorkers : public TransferWorkers {
 public:
  RingWorkers(TransferFile file, TransferQueue& queue)
      : file_(file), queue_(queue), wake_(::eventfd(0, EFD_CLOEXEC)), ring_(kDepth + 1) {
    if (wake_.is_open() && ring_.is_open())
      thread_ = thread_without_signals([this] { work(); });
  }
  ~RingWorkers() override {
    if (!is_working()) return;
    queue_.close();
    RingWorkers::wake();
    thread_.join();
  }

  bool is_working() const { return thread_.joinable(); }
  void wake() override { ::eventfd_write(wake_.get(), 1); }
  std::string name() const override { return "io_uring"; }

 private:
  struct Slot {
    Transfer piece, rest;  // rest.size 0: free
  };

  void work() {
    await_wake();
    while (true) {
      begin_pieces();
      if (under_way_ == 0 && queue_.is_closed()) return;
      const int code = ::io_uring_submit_and_wait(ring_.get(), 1);
      // The kernel is short of memory, or has answers that are to be taken first.
      if (code < 0 && code != -EINTR)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      take_answers();
    }
  }

  void begin_pieces() {
    for (Slot& slot : slots_) {
      if (slot.rest.size > 0) continue;
      const auto piece = queue_.take_now();
      if (!piece) return;
      slot = {*piece, *piece};
      ++under_way_;
      ask(slot, 0);
    }
  }

  void take_answers() {
    io_uring_cqe* answer = nullptr;
    while (::io_uring_peek_cqe(ring_.get(), &answer) == 0) {
      auto* slot = static_cast<Slot*>(::io_uring_cqe_get_data(answer));
      const int result = answer->res;
      ::io_uring_cqe_seen(ring_.get(), answer);
      if (slot != nullptr)
        take_answer(*slot, result);
      else if (!queue_.is_closed())
        await_wake();
    }
  }

  void take_answer(Slot& slot, int result) {
    const int code = take_result(slot.rest, result);
    if (code == 0 && slot.rest.size > 0) {
      // What cannot be begun without waiting is left to a thread of the kernel's.
      ask(slot, result == -EAGAIN ? IOSQE_ASYNC : 0);
      return;
    }
    slot.rest.size = 0;
    --under_way_;
    queue_.ended(slot.piece, code);
  }

  // There is room for them: a slot has one at most, and each turn submits all.
  void ask(Slot& slot, unsigned flags) {
    io_uring_sqe* entry = ::io_uring_get_sqe(ring_.get());
    const Transfer& rest = slot.rest;
    const auto size = static_cast<unsigned>(rest.size);
    const auto offset = static_cast<uint64_t>(rest.offset);
    if (rest.is_write)
      ::io_uring_prep_write(entry, file_.descriptor, rest.memory, size, offset);
    else
      ::io_uring_prep_read(entry, file_.descriptor, rest.memory, size, offset);
    ::io_uring_sqe_set_flags(entry, flags);
    ::io_uring_sqe_set_data(entry, &slot);
  }

  void await_wake() {
    io_uring_sqe* entry = ::io_uring_get_sqe(ring_.get());
    ::io_uring_prep_read(entry, wake_.get(), &wakes_, sizeof wakes_, 0);
    ::io_uring_sqe_set_data(entry, nullptr);
  }

  const TransferFile file_;
  TransferQueue& queue_;
  const Descriptor wake_;
  uint64_t wakes_ = 0;
  Ring ring_;  // before wake_ and wakes_ go
  std::array<Slot, kDepth> slots_;
  int under_way_ = 0;
  std::thread thread_;
};

}  // namespace

std::unique_ptr<TransferWorkers> make_ring_workers(TransferFile file,
                                                   TransferQueue& queue) {
  auto workers = std::make_unique<RingWorkers>(file, queue);
  return workers->is_working() ? std::move(workers) : nullptr;
}

}  // namespace lowmem
