#include "rows_on_disk.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <utility>
#include <vector>

#include "lowmem/core/units.h"
#include "lowmem/memory/rehearsal.h"

namespace lowmem::weights {
namespace {

constexpr int64_t kSector = DirectFile::kAlignment;

// Reads into memory that must live until they are over, whatever happens.
class Arriving {
 public:
  explicit Arriving(WorkingFile& file) : file_(file) {}
  Arriving(const Arriving&) = delete;
  Arriving& operator=(const Arriving&) = delete;
  ~Arriving() {
    for (const DirectFile::Ticket ticket : tickets_) {
      file_.forget(ticket);
      try {
        file_.wait(ticket);
      } catch (const std::exception&) {
        // Then nothing is under way any more.
      }
    }
  }

  void add(DirectFile::Ticket ticket) { tickets_.push_back(ticket); }
  int64_t count() const { return static_cast<int64_t>(tickets_.size()); }
  void wait() {
    for (const DirectFile::Ticket ticket : tickets_) file_.wait(ticket);
    tickets_.clear();
  }

 private:
  WorkingFile& file_;
  std::vector<DirectFile::Ticket> tickets_;
};

class RowsInFile final : public ops::RowSource {
 public:
  RowsInFile(WorkingFile& file, int64_t offset, const at::Tensor& like)
      : file_(file),
        offset_(offset),
        type_(like.scalar_type()),
        rows_(like.size(0)),
        columns_(like.size(1)),
        row_bytes_(columns_ * like.element_size()) {}

  // Nothing may be read into memory that is no more.
  ~RowsInFile() override {
    try {
      file_.wait(next_.ticket);
    } catch (const std::exception&) {
      // Whoever reads next is told.
    }
  }

  at::Tensor slice(int64_t begin, int64_t end) override {
    if (next_.begin != begin || next_.end != end) start(begin, end);
    std::swap(now_, next_);
    file_.wait(std::exchange(now_.ticket, 0));
    next_.begin = next_.end = 0;
    if (end < rows_) start(end, std::min(rows_, end + (end - begin)));
    return now_.room.tensor(begin * row_bytes_ - sector_of(begin),
                            {end - begin, columns_}, type_);
  }

  // Rows are read as they lie in the file, each once however often it is asked for.
  at::Tensor gather(const at::Tensor& ids) override {
    const int64_t count = ids.numel();
    at::Tensor out = at::empty({count, columns_}, type_);
    const at::Tensor host = ids.contiguous();
    const int64_t* wanted = host.const_data_ptr<int64_t>();
    std::vector<int64_t> order(static_cast<size_t>(count));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t a, int64_t b) { return wanted[a] < wanted[b]; });

    constexpr int64_t kTogether = 4 * kMiB;
    const int64_t place = whole_sectors(row_bytes_ + kSector);
    const int64_t most =
        std::clamp<int64_t>(kTogether / place, 1, std::max<int64_t>(1, count));
    const Room room(most * place, memory::current_item());
    auto* to = static_cast<std::byte*>(out.mutable_data_ptr());
    for (size_t at = 0; at < order.size();) {
      Arriving tickets(file_);
      std::vector<std::pair<int64_t, int64_t>> copies;  // a place, a row of `out`
      for (int64_t last = -1; at < order.size(); ++at) {
        const int64_t id = wanted[order[at]];
        if (id != last) {
          const int64_t placed = tickets.count();
          if (placed == most) break;
          tickets.add(file_.read(
              offset_ + sector_of(id),
              room.span(placed * place,
                        whole_sectors((id + 1) * row_bytes_) - sector_of(id))));
          last = id;
        }
        copies.emplace_back(tickets.count() - 1, order[at]);
      }
      tickets.wait();
      if (memory::rehearsing()) continue;
      for (const auto& [placed, row] : copies) {
        const int64_t id = wanted[row];
        std::memcpy(to + row * row_bytes_,
                    room.data() + placed * place + id * row_bytes_ - sector_of(id),
                    static_cast<size_t>(row_bytes_));
      }
    }
    return out;
  }

 private:
  // Some rows, whole sectors of them.
  struct Part {
    Room room;
    int64_t begin = 0, end = 0;
    DirectFile::Ticket ticket = 0;
  };

  // Of a row's first byte, from the matrix' beginning.
  int64_t sector_of(int64_t row) const { return row * row_bytes_ / kSector * kSector; }

  void start(int64_t begin, int64_t end) {
    file_.wait(std::exchange(next_.ticket, 0));
    const int64_t bytes = whole_sectors(end * row_bytes_) - sector_of(begin);
    if (next_.room.bytes() < bytes)
      next_.room = Room(whole_sectors((end - begin) * row_bytes_ + kSector),
                        memory::current_item());
    next_.begin = begin;
    next_.end = end;
    next_.ticket = file_.read(offset_ + sector_of(begin), next_.room.span(0, bytes));
  }

  WorkingFile& file_;
  int64_t offset_;
  at::ScalarType type_;
  int64_t rows_, columns_, row_bytes_;
  Part now_, next_;
};

// Two parts of a room that take turns.
std::array<std::span<std::byte>, 2> halves(const Room& room) {
  const int64_t half = room.bytes() / 2 / kSector * kSector;
  return {room.span(0, half), room.span(half, half)};
}

}  // namespace

ops::MatrixRows rows_in(WorkingFile& file, int64_t offset, const at::Tensor& like) {
  return {like, std::make_shared<RowsInFile>(file, offset, like)};
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
