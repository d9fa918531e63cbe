#include "working_file.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <chrono>

#include "lowmem/memory/rehearsal.h"

namespace lowmem::weights {
namespace {

constexpr int64_t kSector = DirectFile::kAlignment;

// Two parts of a room that take turns.
std::array<std::span<std::byte>, 2> halves(const Room& room) {
  const int64_t half = room.bytes() / 2 / kSector * kSector;
  return {room.span(0, half), room.span(half, half)};
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
  if (file_) file_->extend(bytes);
  return std::exchange(bytes_, bytes_ + bytes);
}

DirectFile::Ticket WorkingFile::read(int64_t offset, std::span<std::byte> to) {
  traffic_.read += static_cast<int64_t>(to.size());
  return file_ ? file_->read(offset, to) : 0;
}

DirectFile::Ticket WorkingFile::write(int64_t offset, std::span<const std::byte> from) {
  traffic_.written += static_cast<int64_t>(from.size());
  return file_ ? file_->write(offset, from) : 0;
}

void WorkingFile::wait(DirectFile::Ticket ticket) {
  if (!file_ || ticket == 0) return;
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  file_->wait(ticket);
  traffic_.waited_seconds += std::chrono::duration<double>(Clock::now() - start).count();
}

void read_through(WorkingFile& file, int64_t offset, int64_t bytes, const Room& room,
                  const std::function<void(std::span<const std::byte>)>& use) {
  const auto parts = halves(room);
  const auto part = static_cast<int64_t>(parts[0].size());
  std::array<DirectFile::Ticket, 2> tickets{};
  const auto begin = [&](int64_t at) {
    const auto turn = static_cast<size_t>(at / part % 2);
    if (at < bytes)
      tickets[turn] =
          file.read(offset + at, parts[turn].first(static_cast<size_t>(
                                     whole_sectors(std::min(part, bytes - at)))));
  };
  begin(0);
  for (int64_t at = 0; at < bytes; at += part) {
    begin(at + part);
    const auto turn = static_cast<size_t>(at / part % 2);
    file.wait(tickets[turn]);
    use(parts[turn].first(static_cast<size_t>(std::min(part, bytes - at))));
  }
}

void write_through(WorkingFile& file, int64_t offset, int64_t bytes, const Room& room,
                   const std::function<void(int64_t, std::span<std::byte>)>& fill) {
  const auto parts = halves(room);
  const auto part = static_cast<int64_t>(parts[0].size());
  std::array<DirectFile::Ticket, 2> tickets{};
  for (int64_t at = 0; at < bytes; at += part) {
    const auto turn = static_cast<size_t>(at / part % 2);
    file.wait(tickets[turn]);
    const int64_t now = std::min(part, bytes - at);
    fill(at, parts[turn].first(static_cast<size_t>(now)));
    tickets[turn] = file.write(
        offset + at, parts[turn].first(static_cast<size_t>(whole_sectors(now))));
  }
  for (const DirectFile::Ticket ticket : tickets) file.wait(ticket);
}

}  // namespace lowmem::weights
