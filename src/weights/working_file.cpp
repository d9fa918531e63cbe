#include "lowmem/weights/working_file.h"

#include <array>
#include <chrono>
#include <cstring>

#include "lowmem/core/error.h"
#include "lowmem/memory/rehearsal.h"
#include "rows_in_store.h"

namespace lowmem::weights {
namespace {

constexpr int64_t kSector = DirectFile::kAlignment;

// Of a sector, by its first bytes; never 0. What a file has lost reads as zeros, or as
// numbers of another place.
uint8_t mark_of(const std::byte* sector) {
  constexpr size_t kBytes = 64;
  uint64_t mark = 0, word = 0;
  for (size_t at = 0; at < kBytes; at += sizeof word) {
    std::memcpy(&word, sector + at, sizeof word);
    mark = (mark ^ word) * 0x9E3779B97F4A7C15u;
  }
  return static_cast<uint8_t>(1 + (mark >> 32) % 255);
}

// Two parts of a room that take turns.
std::array<std::span<std::byte>, 2> halves(const Room& room) {
  const int64_t half = room.bytes() / 2 / kSector * kSector;
  return {room.span(0, half), room.span(half, half)};
}

}  // namespace

WorkingFile::WorkingFile(const std::filesystem::path& folder) : folder_(folder) {
  if (!memory::rehearsing()) file_.emplace(folder);
}

int64_t WorkingFile::extend(int64_t bytes) {
  if (file_) {
    file_->extend(bytes);
    marks_.resize(static_cast<size_t>((bytes_ + bytes) / kSector));
  }
  return std::exchange(bytes_, bytes_ + bytes);
}

Store::Ticket WorkingFile::read(int64_t offset, std::span<std::byte> to) {
  traffic_.read += static_cast<int64_t>(to.size());
  if (!file_) return 0;
  const Ticket ticket = file_->read(offset, to);
  reads_[ticket] = {offset, to};
  return ticket;
}

Store::Ticket WorkingFile::write(int64_t offset, std::span<const std::byte> from) {
  traffic_.written += static_cast<int64_t>(from.size());
  if (!file_) return 0;
  for (size_t at = 0; at < from.size(); at += kSector)
    marks_[(static_cast<size_t>(offset) + at) / kSector] = mark_of(from.data() + at);
  return file_->write(offset, from);
}

void WorkingFile::wait(Ticket ticket) {
  if (!file_ || ticket == 0) return;
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  file_->wait(ticket);
  traffic_.waited_seconds += std::chrono::duration<double>(Clock::now() - start).count();
  const auto read = reads_.find(ticket);
  if (read == reads_.end()) return;
  compare(read->second);
  reads_.erase(read);
}

void WorkingFile::compare(const Read& read) const {
  for (size_t at = 0; at < read.to.size(); at += kSector) {
    const uint8_t mark = marks_[(static_cast<size_t>(read.offset) + at) / kSector];
    if (mark == 0 || mark == mark_of(read.to.data() + at)) continue;
    throw Error("the working file in " + file_->folder().string(),
                "has lost what was written to it",
                "Go on from the last checkpoint with --resume, with memory.scratch on "
                "another disk");
  }
}

ops::MatrixRows WorkingFile::rows(int64_t offset, const at::Tensor& like) {
  return {like, std::make_shared<RowsInFile>(*this, offset, like, c10::kCPU)};
}

std::string WorkingFile::where() const {
  return "on the disk of " + folder_.string() + " (" + (file_ ? file_->way() : "") + ")";
}

void WorkingFile::read_through(
    int64_t offset, int64_t bytes, const Room& room,
    const std::function<void(std::span<const std::byte>)>& use) {
  const auto parts = halves(room);
  const auto part = static_cast<int64_t>(parts[0].size());
  std::array<Ticket, 2> tickets{};
  const auto begin = [&](int64_t at) {
    const auto turn = static_cast<size_t>(at / part % 2);
    if (at < bytes)
      tickets[turn] = read(offset + at, parts[turn].first(static_cast<size_t>(
                                            whole_sectors(std::min(part, bytes - at)))));
  };
  begin(0);
  for (int64_t at = 0; at < bytes; at += part) {
    begin(at + part);
    const auto turn = static_cast<size_t>(at / part % 2);
    wait(tickets[turn]);
    use(parts[turn].first(static_cast<size_t>(std::min(part, bytes - at))));
  }
}

void WorkingFile::write_through(
    int64_t offset, int64_t bytes, const Room& room,
    const std::function<void(int64_t, std::span<std::byte>)>& fill) {
  const auto parts = halves(room);
  const auto part = static_cast<int64_t>(parts[0].size());
  std::array<Ticket, 2> tickets{};
  for (int64_t at = 0; at < bytes; at += part) {
    const auto turn = static_cast<size_t>(at / part % 2);
    wait(tickets[turn]);
    const int64_t now = std::min(part, bytes - at);
    fill(at, parts[turn].first(static_cast<size_t>(now)));
    tickets[turn] =
        write(offset + at, parts[turn].first(static_cast<size_t>(whole_sectors(now))));
  }
  for (const Ticket ticket : tickets) wait(ticket);
}

}  // namespace lowmem::weights
