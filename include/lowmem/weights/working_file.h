#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <vector>

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

// The file that what lives on the disk lies in between its turns. Keeps a mark of every
// sector that was written, of some of its bytes: a file that lost sectors meanwhile,
// since someone cut it or the disk failed, is an Error where they are read, and not other
// numbers. In a rehearsal there is no file: room is made and traffic counted, and nothing
// moves.
class WorkingFile {
 public:
  explicit WorkingFile(const std::filesystem::path& folder);

  // Room for so many bytes, whole sectors: its offset.
  int64_t extend(int64_t bytes);
  // As DirectFile's. 0 is a ticket that is done.
  DirectFile::Ticket read(int64_t offset, std::span<std::byte> to);
  DirectFile::Ticket write(int64_t offset, std::span<const std::byte> from);
  // Throws Error where what was read is not what was written.
  void wait(DirectFile::Ticket ticket);
  // That nobody will wait for a read, whose memory is used for something else.
  void forget(DirectFile::Ticket ticket) { reads_.erase(ticket); }

  int64_t bytes() const { return bytes_; }
  Traffic traffic() const { return traffic_; }
  std::string way() const { return file_ ? file_->way() : ""; }

 private:
  struct Read {
    int64_t offset;
    std::span<const std::byte> to;
  };
  void compare(const Read& read) const;

  std::optional<DirectFile> file_;
  std::vector<uint8_t> marks_;  // of each sector; 0: it was never written
  std::map<DirectFile::Ticket, Read> reads_;
  int64_t bytes_ = 0;
  Traffic traffic_;
};

}  // namespace lowmem::weights
