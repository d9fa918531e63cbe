#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "extent.h"
#include "homes.h"
#include "lowmem/core/log.h"
#include "lowmem/core/units.h"
#include "lowmem/memory/rehearsal.h"
#include "lowmem/ops/dtype.h"
#include "lowmem/ops/pieces.h"
#include "lowmem/weights/store.h"
#include "rows_in_turn.h"

namespace lowmem::weights {
namespace {

struct Group {
  Extent weights, states;
  bool trains = false;       // some of these weights
  bool filled_anew = false;  // by write(), whether they are trained or not
  bool borrowed = false;
};

// Memory for one block at a time.
struct Slot {
  Room weights, states;
  std::optional<size_t> group;
  bool has_weights = false, has_states = false;  // of it, or on their way
  bool stays = false;                            // its group has it for itself
  uint64_t turn = 0;                             // when it was asked for last
  // The last of each, of the weights and of the states.
  Store::Ticket weights_read = 0, states_read = 0;
  Store::Ticket weights_written = 0, states_written = 0;
};

// memory.weights = host or disk: blocks live in a store and come into one of a few slots
// of the device's memory for their turn, the slot whose block was asked for longest ago;
// what was changed goes back in the background. The matrices of the embedding and of the
// head pass by rows. What else is not of a block stays. With memory.states the same of
// what is beside the weights, in a store of its own or in that one.
class Streamed final : public Home {
 public:
  Streamed(const HomeSetup& setup, Table& table, std::shared_ptr<Store> weights,
           std::shared_ptr<Store> states)
      : Home(table),
        weights_(std::move(weights)),
        states_(std::move(states)),
        device_(setup.device),
        ahead_(static_cast<size_t>(setup.ahead)),
        groups_(table.groups()) {
    for (Weight& weight : table.all()) settle(weight);
    const int64_t largest = set_aside(&Group::weights, weights_.get(), matrix_bytes_);
    const size_t blocks = groups_.size() - 2;
    const size_t staying = std::min(blocks, static_cast<size_t>(setup.resident_blocks));
    const size_t shared = std::min(blocks - staying, 1 + ahead_);
    for (size_t i = 0; i < staying + shared; ++i) {
      Slot& slot = slots_.emplace_back();
      slot.weights = Room(largest, memory::Item::kWeights, device_);
      slot.stays = i < staying;
      if (slot.stays) slot.group = blocks - i;
    }
    if (!memory::rehearsing()) {
      const auto say = [&](const char* what, const Store* store) {
        if (store != nullptr)
          log::info(std::string(what) + " live " + store->where() + ", of " +
                    format_count(static_cast<int64_t>(blocks)) + " blocks " +
                    std::to_string(slots_.size()) + " at a time in " +
                    (device_.is_cpu() ? "memory" : "the GPU's"));
      };
      say("weights", weights_.get());
      if (states_ != weights_) say("the optimizer's states", states_.get());
    }
    adopt();
  }

  using Home::read;
  using Home::write;

  void expect(size_t group, Access access) override {
    tell_of_failure();
    if (!comes(group, access)) return;
    if (Slot* slot = slot_for(group)) fetch(*slot, group, access);
  }
  size_t ahead() const override { return ahead_; }
  bool streams() const override { return weights_ != nullptr; }
  Traffic traffic() const override {
    Traffic all;
    for (const Store* store : stores()) all = all + store->traffic();
    return all;
  }
  int64_t disk_bytes() const override {
    int64_t all = 0;
    for (const Store* store : stores()) all += store->disk_bytes();
    return all;
  }
  Here here() const override {
    Here here = Home::here();
    for (const Slot& slot : slots_) {
      here.weights += slot.weights.bytes();
      here.states += slot.states.bytes();
    }
    return here;
  }

  ops::MatrixRows rows(const Weight& weight) override {
    if (!weight.by_rows) return Home::rows(weight);
    return weights_->rows(matrices_.at(&weight).offset, weight.here);
  }
  void read(const Weight& weight, const std::string& state, const Read& use) override {
    const LyingMatrix* matrix = lying(weight, state);
    if (matrix == nullptr) return Home::read(weight, state, use);
    const auto bytes = static_cast<int64_t>(matrix->tensor.nbytes());
    if (matrix->filled || memory::rehearsing())
      return matrix->store->read_through(matrix->offset, bytes, spare(), use);
    // Of the host, whoever computes.
    const std::vector<std::byte> zeros(static_cast<size_t>(std::min(bytes, 64 * kKiB)));
    for (int64_t left = bytes; left > 0;) {
      const auto now = std::min(left, static_cast<int64_t>(zeros.size()));
      use({zeros.data(), static_cast<size_t>(now)});
      left -= now;
    }
  }
  void write(Weight& weight, const std::string& state, const Fill& fill) override {
    if (!weight.spec.adapter && state.empty())
      groups_[weight.spec.group].filled_anew = true;
    LyingMatrix* matrix = lying(weight, state);
    if (matrix == nullptr) return Home::write(weight, state, fill);
    matrix->store->write_through(
        matrix->offset, static_cast<int64_t>(matrix->tensor.nbytes()), spare(), fill);
    matrix->filled = true;
  }
  void pass(Weight& weight, int64_t step, Access access, const Pass& use) override {
    std::vector<LyingMatrix*> passing;
    if (weight.by_rows) passing.push_back(&matrices_.at(&weight));
    if (access != Access::kRead)
      for (auto& [name, matrix] : beside_[&weight]) passing.push_back(&matrix);
    if (passing.empty()) return Home::pass(weight, step, access, use);
    pass_rows(passing, step, access == Access::kWrite, use);
  }

  void make_states(const States& states) override {
    for (Weight& weight : table().all()) {
      if (!weight.trained) continue;
      Extent& extent = groups_[weight.spec.group].states;
      for (const StateSpec& state : states(weight)) {
        const bool edge = !is_block(weight.spec.group);
        if (!states_ || weight.spec.adapter ||
            (edge && (!passes_by_rows(weight) || state.shape != weight.spec.shape))) {
          keep_zeros(weight, state);
        } else if (!weight.beside.contains(state.name)) {
          const at::Tensor tensor = without_memory(state.shape, state.type, device_);
          weight.beside.emplace(state.name, tensor);
          if (edge)
            beside_[&weight][state.name] = {
                states_.get(),
                states_->extend(whole_sectors(static_cast<int64_t>(tensor.nbytes()))),
                tensor, memory::Item::kOptimizerState};
          else
            extent.add(tensor);
        }
      }
    }
    const int64_t largest = set_aside(&Group::states, states_.get(), 0);
    if (largest == 0) return;
    for (Slot& slot : slots_)
      slot.states = Room(largest, memory::Item::kOptimizerState, device_);
  }

 private:
  // Each once.
  std::vector<const Store*> stores() const {
    std::vector<const Store*> all;
    if (weights_) all.push_back(weights_.get());
    if (states_ && states_ != weights_) all.push_back(states_.get());
    return all;
  }
  bool is_block(size_t group) const { return group > 0 && group + 1 < groups_.size(); }
  // Of an edge.
  static bool passes_by_rows(const Weight& weight) {
    return weight.spec.kind == Kind::kMatrix;
  }
  // What is not in memory as a whole, of a weight or of what is beside it; else null.
  LyingMatrix* lying(const Weight& weight, const std::string& state) {
    if (state.empty()) return weight.by_rows ? &matrices_.at(&weight) : nullptr;
    const auto beside = beside_.find(&weight);
    if (beside == beside_.end()) return nullptr;
    const auto found = beside->second.find(state);
    return found == beside->second.end() ? nullptr : &found->second;
  }
  // Whether anything has to be brought.
  bool comes(size_t group, Access access) const {
    const Group& of = groups_[group];
    return of.weights.bytes > 0 || (access != Access::kRead && of.states.bytes > 0);
  }

  // Where a weight is to live.
  void settle(Weight& weight) {
    const bool edge = !is_block(weight.spec.group);
    if (!weights_ || weight.spec.adapter || (edge && !passes_by_rows(weight))) {
      if (!weight.here.defined()) table().allocate(weight, device_);
      return;
    }
    if (!weight.here.defined())
      weight.here =
          without_memory(weight.spec.shape, ops::scalar_type(weight.format), device_);
    else
      there_.push_back(&weight);
    if (!edge) {
      Group& group = groups_[weight.spec.group];
      group.trains = group.trains || weight.trained;
      return group.weights.add(weight.here);
    }
    weight.by_rows = true;
    // As long as they come first.
    matrices_[&weight] = {weights_.get(), matrix_bytes_, weight.here};
    matrix_bytes_ += whole_sectors(weight.bytes());
  }

  // Room in a store for that of every group, behind so many bytes of something else. The
  // most that a group takes.
  int64_t set_aside(Extent Group::*which, Store* store, int64_t before) {
    int64_t bytes = before, largest = 0;
    for (const Group& group : groups_) bytes += (group.*which).whole();
    if (bytes == 0) return 0;
    int64_t offset = store->extend(bytes) + before;
    for (Group& group : groups_) {
      Extent& extent = group.*which;
      extent.offset = std::exchange(offset, offset + extent.whole());
      largest = std::max(largest, extent.whole());
    }
    return largest;
  }

  // Takes in weights that had their numbers before they had this home.
  void adopt() {
    std::map<Weight*, at::Tensor> had;
    for (Weight* weight : there_) {
      had[weight] =
          without_memory(weight->spec.shape, weight->here.scalar_type(), device_);
      had[weight].storage().unsafeGetStorageImpl()->set_data_ptr_noswap(
          weight->here.storage().unsafeGetStorageImpl()->set_data_ptr(
              at::DataPtr(nullptr, device_)));
    }
    for (Weight* weight : there_) {
      const Lease lease = borrow(weight->spec.group, Access::kWrite);
      const at::Tensor numbers = had.at(weight).cpu();
      const auto* from = static_cast<const std::byte*>(numbers.const_data_ptr());
      write(*weight, [&](int64_t offset, std::span<std::byte> piece) {
        std::memcpy(piece.data(), from + offset, piece.size());
      });
    }
  }

  // The slot that has the group, or one that it may have: the one that was asked for
  // longest ago. Null where all are borrowed.
  Slot* slot_for(size_t group) {
    Slot* found = nullptr;
    for (Slot& slot : slots_) {
      if (slot.group == group) return &slot;
      if (slot.stays || (slot.group && groups_[*slot.group].borrowed)) continue;
      if (found == nullptr || slot.turn < found->turn) found = &slot;
    }
    return found;
  }

  // Memory that passes for a moment: that of a slot, whose block comes again.
  const Room& spare() {
    Slot* slot = slot_for(groups_.size());
    constexpr int64_t kLeast = 8 * DirectFile::kAlignment;
    if (slot == nullptr || slot->weights.bytes() < kLeast) {
      if (spare_.bytes() == 0) spare_ = Room(kLeast, memory::Item::kWeights, device_);
      return spare_;
    }
    weights_->wait(slot->weights_read);
    weights_->wait(slot->weights_written);
    slot->group.reset();
    return slot->weights;
  }

  void fetch(Slot& slot, size_t number, Access access) {
    Group& group = groups_[number];
    slot.turn = ++turns_;
    if (slot.group != number) {
      if (weights_) weights_->forget(slot.weights_read);
      if (states_) states_->forget(slot.states_read);
      slot.group = number;
      slot.has_weights = slot.has_states = false;
    }
    if (weights_ && !std::exchange(slot.has_weights, true) &&
        (group.weights.filled || memory::rehearsing()))
      slot.weights_read = weights_->read(group.weights.offset,
                                         slot.weights.span(0, group.weights.whole()));
    if (access == Access::kRead || group.states.bytes == 0) return;
    if (std::exchange(slot.has_states, true)) return;
    const std::span<std::byte> memory = slot.states.span(0, group.states.whole());
    if (group.states.filled || memory::rehearsing()) {
      slot.states_read = states_->read(group.states.offset, memory);
    } else {
      // It may be on its way to this memory, or from it.
      states_->wait(slot.states_read);
      states_->wait(slot.states_written);
      slot.states.clear(group.states.whole());
    }
  }

  void bring(size_t number, Access access) override {
    tell_of_failure();
    if (!comes(number, access)) return;
    Slot* slot = slot_for(number);
    if (slot == nullptr)
      throw std::logic_error("more blocks are borrowed than have slots");
    fetch(*slot, number, access);
    if (weights_) weights_->wait(slot->weights_read);
    if (states_) states_->wait(slot->states_read);
    if (access == Access::kWrite) {
      if (weights_) weights_->wait(slot->weights_written);
      if (states_) states_->wait(slot->states_written);
    }
    Group& group = groups_[number];
    group.borrowed = true;
    group.weights.point_into(slot->weights.data());
    if (slot->has_states) group.states.point_into(slot->states.data());
  }

  void take_back(size_t number, bool written) override {
    Group& group = groups_[number];
    if (!std::exchange(group.borrowed, false)) return;
    Slot& slot = *slot_for(number);
    group.weights.point_nowhere();
    group.states.point_nowhere();
    if (!written || slot.stays) return;
    try {
      store(group, slot);
    } catch (...) {
      if (!failure_) failure_ = std::current_exception();
    }
  }

  // What went wrong where nobody could be told: a lease ends without an Error.
  void tell_of_failure() {
    if (failure_) std::rethrow_exception(failure_);
  }

  void store(Group& group, Slot& slot) {
    const bool changed = std::exchange(group.filled_anew, false) || group.trains;
    if (group.weights.bytes > 0 && changed) {
      slot.weights_written = weights_->write(group.weights.offset,
                                             slot.weights.span(0, group.weights.whole()));
      group.weights.filled = true;
    }
    if (!slot.has_states) return;
    slot.states_written =
        states_->write(group.states.offset, slot.states.span(0, group.states.whole()));
    group.states.filled = true;
  }

  // Stores are destroyed before the memory that they are read into.
  std::vector<Slot> slots_;
  Room spare_;
  std::shared_ptr<Store> weights_, states_;  // null: here
  c10::Device device_;
  size_t ahead_;
  std::vector<Group> groups_;
  // By rows: weights, and what is beside them.
  std::map<const Weight*, LyingMatrix> matrices_;
  std::map<const Weight*, std::map<std::string, LyingMatrix>> beside_;
  int64_t matrix_bytes_ = 0;    // of all of these weights, in whole sectors
  std::vector<Weight*> there_;  // with numbers of before
  uint64_t turns_ = 0;
  std::exception_ptr failure_;
};

}  // namespace

std::unique_ptr<Home> make_streamed(const HomeSetup& setup, Table& table,
                                    std::shared_ptr<Store> weights,
                                    std::shared_ptr<Store> states) {
  return std::make_unique<Streamed>(setup, table, std::move(weights), std::move(states));
}

}  // namespace lowmem::weights
