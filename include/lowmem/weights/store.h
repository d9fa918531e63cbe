#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "lowmem/io/direct_file.h"
#include "lowmem/memory/scope.h"
#include "lowmem/ops/matrix_rows.h"

namespace lowmem::weights {

// Bytes up to the next multiple of what stores are read and written in.
constexpr int64_t whole_sectors(int64_t bytes) {
  constexpr int64_t kSector = DirectFile::kAlignment;
  return (bytes + kSector - 1) / kSector * kSector;
}

// Bytes that were moved between the memory that is computed with and where they live, and
// how long the step waited for them, as far as the host does.
struct Traffic {
  int64_t read = 0, written = 0;
  double waited_seconds = 0;

  Traffic since(const Traffic& before) const {
    return {read - before.read, written - before.written,
            waited_seconds - before.waited_seconds};
  }
  Traffic operator+(const Traffic& other) const {
    return {read + other.read, written + other.written,
            waited_seconds + other.waited_seconds};
  }
};

// Memory that a store may be read into, counted as any tensor's.
class Room {
 public:
  Room() = default;
  Room(int64_t bytes, memory::Item item, c10::Device device = c10::kCPU);

  int64_t bytes() const { return bytes_; }
  // Of its first bytes; nothing is behind them in a rehearsal.
  std::byte* data() const;
  std::span<std::byte> span(int64_t begin, int64_t bytes) const;
  // A contiguous tensor in it, `begin` bytes from its beginning.
  at::Tensor tensor(int64_t begin, at::IntArrayRef shape, at::ScalarType type) const;
  // Zeros in its first bytes, in the order of what is computed.
  void clear(int64_t bytes) const;

 private:
  at::Tensor memory_;
  int64_t first_ = 0, bytes_ = 0;
};

// Where something lies between its turns in the memory that is computed with, and the way
// there and back: a file, or the host's memory for a GPU. Bytes go past one another in
// the background; requests that touch the same bytes take effect in the order in which
// they were given. Memory that was given must live until its request has been waited for,
// or the store is destroyed. In a rehearsal traffic is counted and nothing moves.
class Store {
 public:
  using Ticket = uint64_t;  // names a request; 0 is done

  Store() = default;
  virtual ~Store() = default;
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  // Room for so many bytes, whole sectors: its offset. What is read of it before it is
  // written means nothing. Throws Error where there is none.
  virtual int64_t extend(int64_t bytes) = 0;
  // The range must lie in what extend() returned; of a file in whole sectors.
  virtual Ticket read(int64_t offset, std::span<std::byte> to) = 0;
  virtual Ticket write(int64_t offset, std::span<const std::byte> from) = 0;
  // What is computed from here on finds the request done. Throws Error where it failed.
  virtual void wait(Ticket ticket) = 0;
  // That nobody will wait for a read, whose memory is used for something else.
  virtual void forget(Ticket ticket) = 0;

  // Rows of a matrix that lies here from `offset` on; `like` has its shape and type.
  virtual ops::MatrixRows rows(int64_t offset, const at::Tensor& like) = 0;
  // All of so many bytes from `offset` on, in order and in pieces of the host's memory,
  // where need be through that of `room`.
  virtual void read_through(
      int64_t offset, int64_t bytes, const Room& room,
      const std::function<void(std::span<const std::byte>)>& use) = 0;
  virtual void write_through(
      int64_t offset, int64_t bytes, const Room& room,
      const std::function<void(int64_t, std::span<std::byte>)>& fill) = 0;

  virtual Traffic traffic() const = 0;
  // Of its file; 0: it has none.
  virtual int64_t disk_bytes() const { return 0; }
  // For the log: "on the disk of runs (direct, io_uring)".
  virtual std::string where() const = 0;
};

}  // namespace lowmem::weights
