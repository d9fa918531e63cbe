#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>
#include <vector>

#include "lowmem/core/units.h"
#include "lowmem/memory/rehearsal.h"
#include "rows_in_store.h"

namespace lowmem::weights {
namespace {

constexpr int64_t kSector = DirectFile::kAlignment;

// Reads into memory that must live until they are over, whatever happens.
class Arriving {
 public:
  explicit Arriving(Store& store) : store_(store) {}
  Arriving(const Arriving&) = delete;
  Arriving& operator=(const Arriving&) = delete;
  ~Arriving() {
    for (const Store::Ticket ticket : tickets_) {
      store_.forget(ticket);
      try {
        store_.wait(ticket);
      } catch (const std::exception&) {
        // Then nothing is under way any more.
      }
    }
  }

  void add(Store::Ticket ticket) { tickets_.push_back(ticket); }
  int64_t count() const { return static_cast<int64_t>(tickets_.size()); }
  void wait() {
    for (const Store::Ticket ticket : tickets_) store_.wait(ticket);
    tickets_.clear();
  }

 private:
  Store& store_;
  std::vector<Store::Ticket> tickets_;
};

}  // namespace

at::Tensor RowsInFile::gather(const at::Tensor& ids) {
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
    Arriving tickets(store_);
    std::vector<std::pair<int64_t, int64_t>> copies;  // a place, a row of `out`
    for (int64_t last = -1; at < order.size(); ++at) {
      const int64_t id = wanted[order[at]];
      if (id != last) {
        const int64_t placed = tickets.count();
        if (placed == most) break;
        tickets.add(
            store_.read(offset_ + sector_of(id),
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

}  // namespace lowmem::weights
