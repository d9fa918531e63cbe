#include "lowmem/weights/home.h"

#include <algorithm>
#include <utility>

#include "homes.h"
#include "lowmem/ops/pieces.h"

namespace lowmem::weights {

Lease::Lease(Home& home, size_t group, Access access)
    : home_(&home), group_(group), access_(access) {}

Lease::Lease(Lease&& other) noexcept
    : home_(std::exchange(other.home_, nullptr)),
      group_(other.group_),
      access_(other.access_) {}

Lease::~Lease() {
  if (home_ != nullptr) home_->give_back(group_, access_);
}

Home::Home(Table& table) : table_(table), borrowed_(table.groups()) {}

Lease Home::borrow(size_t group, Access access) {
  Borrowed& borrowed = borrowed_[group];
  if (borrowed.leases == 0 || access > borrowed.access) {
    bring(group, access);
    borrowed.access = access;
  }
  ++borrowed.leases;
  return {*this, group, access};
}

void Home::give_back(size_t group, Access access) {
  Borrowed& borrowed = borrowed_[group];
  borrowed.written = borrowed.written || access == Access::kWrite;
  if (--borrowed.leases > 0) return;
  borrowed.access = Access::kRead;
  take_back(group, std::exchange(borrowed.written, false));
}

void Home::read(const Weight& weight,
                const std::function<void(std::span<const std::byte>)>& use) {
  ops::read_pieces(weight.here, use);
}

void Home::write(Weight& weight,
                 const std::function<void(int64_t, std::span<std::byte>)>& fill) {
  ops::write_pieces(weight.here, fill);
}

Home::Here Home::here() const {
  // A tensor whose numbers live elsewhere has no memory of its own.
  const auto bytes_of = [](const at::Tensor& tensor) {
    return tensor.defined() && tensor.storage().allocator() != nullptr
               ? static_cast<int64_t>(tensor.nbytes())
               : 0;
  };
  Here here;
  for (const Weight& weight : table_.all()) {
    here.weights += bytes_of(weight.here);
    for (const auto& [name, tensor] : weight.beside) here.states += bytes_of(tensor);
  }
  return here;
}

void Home::make_states(const States& states) {
  for (size_t group = 0; group < table_.groups(); ++group) {
    if (!table_.trains(group)) continue;
    const Lease lease = borrow(group, Access::kWrite);
    for (Weight* weight : table_.group(group)) {
      if (!weight->trained) continue;
      for (const StateSpec& state : states(*weight)) keep_zeros(*weight, state);
    }
  }
}

std::unique_ptr<Home> make_home(const HomeSetup& setup, Table& table) {
  switch (setup.weights) {
    case WeightsMode::kResident:
      if (!setup.states_on_disk()) return make_resident(table, setup.device);
      break;
    case WeightsMode::kDisk:
      break;
  }
  return make_disk(setup, table);
}

}  // namespace lowmem::weights
