#include "lowmem/weights/home.h"

#include <algorithm>
#include <utility>

#include "homes.h"
#include "lowmem/memory/rehearsal.h"
#include "lowmem/ops/pieces.h"
#include "lowmem/weights/host_memory.h"
#include "lowmem/weights/staged_file.h"
#include "lowmem/weights/working_file.h"

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

void Home::read(const Weight& weight, const std::string& state, const Read& use) {
  ops::read_pieces(state.empty() ? weight.here : weight.beside.at(state), use);
}

void Home::write(Weight& weight, const std::string& state, const Fill& fill) {
  ops::write_pieces(state.empty() ? weight.here : weight.beside.at(state), fill);
  if (state.empty()) weight.here.unsafeGetTensorImpl()->bump_version();
}

void Home::pass(Weight& weight, int64_t, Access, const Pass& use) {
  use(0, weight.here.size(0));
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

StatesMode HomeSetup::states_live() const {
  if (states != StatesMode::kWithWeights) return states;
  switch (weights) {
    case WeightsMode::kResident:
      return StatesMode::kDevice;
    case WeightsMode::kHost:
      return StatesMode::kHost;
    case WeightsMode::kDisk:
      return StatesMode::kDisk;
  }
  return StatesMode::kDevice;
}

std::unique_ptr<Home> make_home(const HomeSetup& setup, Table& table) {
  const StatesMode states = setup.states_live();
  std::shared_ptr<Store> host, disk;
  if (setup.weights == WeightsMode::kHost || states == StatesMode::kHost)
    host = std::make_shared<HostMemory>(setup.device);
  if (setup.weights == WeightsMode::kDisk || states == StatesMode::kDisk)
    disk = setup.device.is_cpu() && memory::rehearsed_gpu() == nullptr
               ? std::shared_ptr<Store>(std::make_shared<WorkingFile>(setup.scratch))
               : std::make_shared<StagedFile>(setup.scratch, setup.device);
  if (!host && !disk) return make_resident(table, setup.device);
  return make_streamed(setup, table,
                       setup.weights == WeightsMode::kResident ? nullptr
                       : setup.weights == WeightsMode::kHost   ? host
                                                               : disk,
                       states == StatesMode::kDevice ? nullptr
                       : states == StatesMode::kHost ? host
                                                     : disk);
}

}  // namespace lowmem::weights
