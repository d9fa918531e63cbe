#include "lowmem/weights/staged_file.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "device_copies.h"
#include "lowmem/memory/ledger.h"
#include "lowmem/ops/device.h"
#include "rows_in_store.h"

namespace lowmem::weights {

// Memory between the file and the device, and what may still be at work on it.
struct StagedFile::Piece {
  Piece(int64_t bytes, c10::Device device) : memory(bytes, device) {}

  PinnedMemory memory;
  bool asked_for = false;               // by a request that nobody has waited for
  DeviceCopies::Mark copied = nullptr;  // from or to the device
  Store::Ticket file = 0;               // read or written
};

struct StagedFile::Reading {
  std::shared_ptr<Piece> piece;
  std::span<std::byte> to;
  DeviceCopies::Mark free;  // what was computed when it was asked for
};

struct StagedFile::Writing {
  Store::Ticket ticket;
  std::shared_ptr<Piece> piece;
  int64_t begin, end;  // in the file
};

namespace {

constexpr int64_t kPassing = 4 << 20;  // bytes at a time of what goes from host to host

}  // namespace

StagedFile::StagedFile(const std::filesystem::path& folder, c10::Device device)
    : file_(folder), copies_(std::make_unique<DeviceCopies>(device)), device_(device) {}

// No request may be under way for memory that is no more.
StagedFile::~StagedFile() {
  copies_->finish();
  for (const auto& piece : pieces_) {
    file_.forget(piece->file);
    try {
      file_.wait(piece->file);
    } catch (const std::exception&) {
      // Then nothing is under way any more.
    }
  }
}

std::shared_ptr<StagedFile::Piece> StagedFile::piece_for(int64_t bytes) {
  const auto writing = [&](const std::shared_ptr<Piece>& piece) {
    return std::find_if(writes_.begin(), writes_.end(),
                        [&](const Writing& each) { return each.piece == piece; });
  };
  const auto rank = [](const Piece& piece) {
    return std::pair(piece.memory.bytes(), piece.asked_for);
  };
  // The smallest that is enough; of equal ones one that nothing uses, or that was used
  // longest ago.
  auto found = pieces_.end();
  for (auto at = pieces_.begin(); at != pieces_.end(); ++at) {
    const bool is_read = (*at)->asked_for && writing(*at) == writes_.end();
    if (is_read || (*at)->memory.bytes() < bytes) continue;
    if (found == pieces_.end() || rank(**at) < rank(**found)) found = at;
  }
  std::shared_ptr<Piece> piece;
  if (found == pieces_.end()) {
    piece = std::make_shared<Piece>(bytes, device_);
  } else {
    if ((*found)->asked_for)
      pass_on(static_cast<size_t>(writes_.end() - writing(*found)) - 1);
    piece = std::move(*found);
    pieces_.erase(found);
    DeviceCopies::wait(std::exchange(piece->copied, nullptr));
    file_.wait(std::exchange(piece->file, 0));
  }
  piece->asked_for = true;
  pieces_.push_back(piece);  // the last to be used again
  return piece;
}

void StagedFile::pass_on(size_t most) {
  while (!writes_.empty() && (writes_.size() > most ||
                              DeviceCopies::is_reached(writes_.front().piece->copied))) {
    const Writing writing = std::move(writes_.front());
    writes_.pop_front();
    DeviceCopies::wait(std::exchange(writing.piece->copied, nullptr));
    writing.piece->file = file_.write(
        writing.begin, writing.piece->memory.span(writing.end - writing.begin));
    writing.piece->asked_for = false;
  }
}

Store::Ticket StagedFile::read(int64_t offset, std::span<std::byte> to) {
  const int64_t end = offset + whole_sectors(static_cast<int64_t>(to.size()));
  const bool waits = std::any_of(
      writes_.begin(), writes_.end(),
      [&](const Writing& each) { return each.begin < end && offset < each.end; });
  pass_on(waits ? 0 : kWrites);
  const auto piece = piece_for(end - offset);
  piece->file = file_.read(offset, piece->memory.span(end - offset));
  reads_.emplace(++last_, Reading{piece, to, copies_->computed()});
  return last_;
}

Store::Ticket StagedFile::write(int64_t offset, std::span<const std::byte> from) {
  pass_on(kWrites - 1);
  const int64_t end = offset + whole_sectors(static_cast<int64_t>(from.size()));
  const auto piece = piece_for(end - offset);
  piece->copied = copies_->to_host(from, piece->memory.host(), copies_->computed());
  writes_.push_back({++last_, piece, offset, end});
  return last_;
}

void StagedFile::wait(Ticket ticket) {
  for (const Writing& writing : writes_)
    if (writing.ticket == ticket) copies_->computing_waits(writing.piece->copied);
  const auto found = reads_.find(ticket);
  if (found == reads_.end()) return;
  const Reading reading = std::move(found->second);
  reads_.erase(found);
  reading.piece->asked_for = false;
  file_.wait(std::exchange(reading.piece->file, 0));
  reading.piece->copied =
      copies_->to_device(reading.piece->memory.host(), reading.to, reading.free);
  copies_->computing_waits(reading.piece->copied);
}

void StagedFile::forget(Ticket ticket) {
  const auto found = reads_.find(ticket);
  if (found == reads_.end()) return;
  file_.forget(found->second.piece->file);
  found->second.piece->asked_for = false;
  reads_.erase(found);
}

// Rows of it for a device.
class StagedFile::Rows final : public RowsInStore {
 public:
  Rows(StagedFile& store, int64_t offset, const at::Tensor& like)
      : RowsInStore(store, offset, like, like.device()),
        staged_(store),
        in_file_(store.file_, offset, like, c10::kCPU) {}

  at::Tensor gather(const at::Tensor& ids) override {
    staged_.pass_on(0);  // what the device has written
    const at::Tensor host = ids.cpu();
    const memory::OnHost on_host;
    return ops::to_device(in_file_.gather(host), device_);
  }

 private:
  StagedFile& staged_;
  RowsInFile in_file_;
};

ops::MatrixRows StagedFile::rows(int64_t offset, const at::Tensor& like) {
  return {like, std::make_shared<Rows>(*this, offset, like)};
}

// Lives on, since a request may be under way when `use` or `fill` throws.
const Room& StagedFile::passing() {
  if (passing_.bytes() == 0) {
    const memory::OnHost on_host;
    passing_ = Room(2 * kPassing, memory::current_item());
  }
  return passing_;
}

void StagedFile::read_through(
    int64_t offset, int64_t bytes, const Room&,
    const std::function<void(std::span<const std::byte>)>& use) {
  pass_on(0);
  file_.read_through(offset, bytes, passing(), use);
}

void StagedFile::write_through(
    int64_t offset, int64_t bytes, const Room&,
    const std::function<void(int64_t, std::span<std::byte>)>& fill) {
  pass_on(0);
  file_.write_through(offset, bytes, passing(), fill);
}

}  // namespace lowmem::weights
