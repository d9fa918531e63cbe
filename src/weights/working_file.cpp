#include "lowmem/weights/working_file.h"

#include <ATen/ATen.h>

#include <chrono>
#include <cstring>

#include "lowmem/core/error.h"
#include "lowmem/memory/rehearsal.h"

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

}  // namespace

Room::Room(int64_t bytes, memory::Item item) : bytes_(bytes) {
  const memory::Scope scope(item);
  memory_ = at::empty({bytes + kSector}, at::kByte);
  const auto address = reinterpret_cast<uintptr_t>(memory_.mutable_data_ptr());
  first_ = static_cast<int64_t>((kSector - address % kSector) % kSector);
}

std::byte* Room::data() const {
  return memory_.defined() ? static_cast<std::byte*>(memory_.mutable_data_ptr()) + first_
                           : nullptr;
}

std::span<std::byte> Room::span(int64_t begin, int64_t bytes) const {
  return {data() + begin, static_cast<size_t>(bytes)};
}

at::Tensor Room::tensor(int64_t begin, at::IntArrayRef shape, at::ScalarType type) const {
  const int64_t bytes =
      c10::multiply_integers(shape) * static_cast<int64_t>(c10::elementSize(type));
  return memory_.narrow(0, first_ + begin, bytes).view(type).view(shape);
}

WorkingFile::WorkingFile(const std::filesystem::path& folder) {
  if (!memory::rehearsing()) file_.emplace(folder);
}

int64_t WorkingFile::extend(int64_t bytes) {
  if (file_) {
    file_->extend(bytes);
    marks_.resize(static_cast<size_t>((bytes_ + bytes) / kSector));
  }
  return std::exchange(bytes_, bytes_ + bytes);
}

DirectFile::Ticket WorkingFile::read(int64_t offset, std::span<std::byte> to) {
  traffic_.read += static_cast<int64_t>(to.size());
  if (!file_) return 0;
  const DirectFile::Ticket ticket = file_->read(offset, to);
  reads_[ticket] = {offset, to};
  return ticket;
}

DirectFile::Ticket WorkingFile::write(int64_t offset, std::span<const std::byte> from) {
  traffic_.written += static_cast<int64_t>(from.size());
  if (!file_) return 0;
  for (size_t at = 0; at < from.size(); at += kSector)
    marks_[(static_cast<size_t>(offset) + at) / kSector] = mark_of(from.data() + at);
  return file_->write(offset, from);
}

void WorkingFile::wait(DirectFile::Ticket ticket) {
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

}  // namespace lowmem::weights
