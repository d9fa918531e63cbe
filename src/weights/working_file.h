#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>

#include "lowmem/io/direct_file.h"
#include "lowmem/memory/scope.h"
#include "lowmem/weights/home.h"

namespace lowmem::weights {

// Bytes up to the next multiple of what a file is read and written in.
constexpr int64_t whole_sectors(int64_t bytes) {
  constexpr int64_t kSector = DirectFile::kAlignment;
  return (bytes + kSector - 1) / kSector * kSector;
}

// Memory that a file may be read into, counted as any tensor's.
class Room {
 public:
  Room() = default;
  Room(int64_t bytes, memory::Item item);

  int64_t bytes() const { return bytes_; }
  // Of its first bytes; nothing is behind them in a rehearsal.
  std::byte* data() const;
  std::span<std::byte> span(int64_t begin, int64_t bytes) const;
  // A contiguous tensor in it, `begin` bytes from its beginning.
  at::Tensor tensor(int64_t begin, at::IntArrayRef shape, at::ScalarType type) const;

 private:
  at::Tensor memory_;
  int64_t first_ = 0, bytes_ = 0;
};

// The file that weights on the disk live in. In a rehearsal there is none: room is made
// and traffic counted, and nothing moves.
class WorkingFile {
 public:
  explicit WorkingFile(const std::filesystem::path& folder);

  // Room for so many bytes, whole sectors: its offset.
  int64_t extend(int64_t bytes);
  // As DirectFile's. 0 is a ticket that is done.
  DirectFile::Ticket read(int64_t offset, std::span<std::byte> to);
  DirectFile::Ticket write(int64_t offset, std::span<const std::byte> from);
  void wait(DirectFile::Ticket ticket);

  int64_t bytes() const { return bytes_; }
  Traffic traffic() const { return traffic_; }
  std::string way() const { return file_ ? file_->way() : ""; }

 private:
  std::optional<DirectFile> file_;
  int64_t bytes_ = 0;
  Traffic traffic_;
};

// Rows of a matrix that lies in the file from `offset` on; `like` has its shape and type.
ops::MatrixRows rows_in(WorkingFile& file, int64_t offset, const at::Tensor& like);

// All of so many bytes from `offset` on, in order, through the memory of `room`.
void read_through(WorkingFile& file, int64_t offset, int64_t bytes, const Room& room,
                  const std::function<void(std::span<const std::byte>)>& use);
void write_through(WorkingFile& file, int64_t offset, int64_t bytes, const Room& room,
                   const std::function<void(int64_t, std::span<std::byte>)>& fill);

}  // namespace lowmem::weights
