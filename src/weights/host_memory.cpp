#include "lowmem/weights/host_memory.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "device_copies.h"
#include "lowmem/memory/rehearsal.h"
#include "lowmem/ops/pieces.h"
#include "rows_in_store.h"

namespace lowmem::weights {
namespace {

// In the memory of the host, of which the device sees it all.
class RowsOnHost final : public RowsInStore {
 public:
  RowsOnHost(HostMemory& memory, int64_t offset, const at::Tensor& like,
             std::byte* on_device)
      : RowsInStore(memory, offset, like, like.device()),
        whole_(at::for_blob(on_device, like.sizes())
                   .target_device(like.device())
                   .options(like.options())
                   .make_tensor()) {}

  at::Tensor gather(const at::Tensor& ids) override {
    return whole_.index_select(0, ids);
  }

 private:
  at::Tensor whole_;
};

}  // namespace

// Copies that nobody has waited for yet.
struct HostMemory::UnderWay {
  Ticket add(DeviceCopies::Mark mark) {
    if (mark == nullptr) return 0;
    marks.emplace(++last, std::move(mark));
    return last;
  }
  std::map<Ticket, DeviceCopies::Mark> marks;
  Ticket last = 0;
};

HostMemory::HostMemory(c10::Device device)
    : device_(device),
      copies_(std::make_unique<DeviceCopies>(device)),
      under_way_(std::make_unique<UnderWay>()) {}

HostMemory::~HostMemory() { copies_->finish(); }

int64_t HostMemory::extend(int64_t bytes) {
  const int64_t begin = regions_.empty() ? 0 : regions_.back().end;
  regions_.push_back(
      {begin, begin + bytes, std::make_unique<PinnedMemory>(bytes, device_)});
  return begin;
}

const HostMemory::Region& HostMemory::region_of(int64_t offset) const {
  return *std::find_if(regions_.begin(), regions_.end(),
                       [&](const Region& region) { return offset < region.end; });
}

std::byte* HostMemory::host(int64_t offset) const {
  const Region& region = region_of(offset);
  return region.memory->host() + (offset - region.begin);
}

template <class Copy>
void HostMemory::each_part(int64_t offset, int64_t bytes, Copy&& copy) const {
  for (int64_t at = 0; at < bytes;) {
    const int64_t now = std::min(bytes - at, region_of(offset + at).end - (offset + at));
    copy(host(offset + at), static_cast<size_t>(at), static_cast<size_t>(now));
    at += now;
  }
}

Store::Ticket HostMemory::read(int64_t offset, std::span<std::byte> to) {
  const auto bytes = static_cast<int64_t>(to.size());
  traffic_.read += bytes;
  const DeviceCopies::Mark computed = copies_->computed();
  DeviceCopies::Mark done;
  each_part(offset, bytes, [&](const std::byte* from, size_t begin, size_t count) {
    done = copies_->to_device(from, to.subspan(begin, count), computed);
  });
  return under_way_->add(std::move(done));
}

Store::Ticket HostMemory::write(int64_t offset, std::span<const std::byte> from) {
  const auto bytes = static_cast<int64_t>(from.size());
  traffic_.written += bytes;
  const DeviceCopies::Mark computed = copies_->computed();
  DeviceCopies::Mark done;
  each_part(offset, bytes, [&](std::byte* to, size_t begin, size_t count) {
    done = copies_->to_host(from.subspan(begin, count), to, computed);
  });
  return under_way_->add(std::move(done));
}

void HostMemory::wait(Ticket ticket) {
  const auto found = under_way_->marks.find(ticket);
  if (found == under_way_->marks.end()) return;
  copies_->computing_waits(found->second);
  under_way_->marks.erase(found);
}

// What is computed may use the memory anew.
void HostMemory::forget(Ticket ticket) { wait(ticket); }

ops::MatrixRows HostMemory::rows(int64_t offset, const at::Tensor& like) {
  const Region& region = region_of(offset);
  return {like,
          std::make_shared<RowsOnHost>(
              *this, offset, like, region.memory->on_device() + (offset - region.begin))};
}

void HostMemory::read_through(
    int64_t offset, int64_t bytes, const Room&,
    const std::function<void(std::span<const std::byte>)>& use) {
  copies_->wait_for_all();
  for (int64_t at = 0; at < bytes; at += ops::kPieceBytes)
    use({host(offset + at), static_cast<size_t>(std::min(ops::kPieceBytes, bytes - at))});
}

void HostMemory::write_through(
    int64_t offset, int64_t bytes, const Room&,
    const std::function<void(int64_t, std::span<std::byte>)>& fill) {
  copies_->wait_for_all();
  for (int64_t at = 0; at < bytes; at += ops::kPieceBytes)
    fill(at, {host(offset + at),
              static_cast<size_t>(std::min(ops::kPieceBytes, bytes - at))});
}

}  // namespace lowmem::weights
