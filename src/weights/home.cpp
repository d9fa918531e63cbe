#include "lowmem/weights/home.h"

#include <utility>

#include "homes.h"

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
  if (borrowed_[group].leases == 0) bring(group);
  ++borrowed_[group].leases;
  return {*this, group, access};
}

void Home::give_back(size_t group, Access access) {
  Borrowed& borrowed = borrowed_[group];
  borrowed.written = borrowed.written || access == Access::kWrite;
  if (--borrowed.leases == 0) take_back(group, std::exchange(borrowed.written, false));
}

std::unique_ptr<Home> make_home(WeightsMode mode, Table& table, c10::Device device) {
  switch (mode) {
    case WeightsMode::kResident:
      return make_resident(table, device);
  }
  return nullptr;
}

}  // namespace lowmem::weights
