#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "lowmem/config/choices.h"
#include "lowmem/ops/matrix_rows.h"
#include "lowmem/weights/store.h"
#include "lowmem/weights/table.h"

namespace lowmem::weights {

// What is asked of a group; each holds those before it.
enum class Access {
  kRead,     // its weights
  kReadAll,  // and what is beside them
  kWrite,    // both, to be changed
};

class Home;

// A group of weights, borrowed for reading or for reading and writing: while it lives
// Weight::here has its numbers. Gives back when it ends.
class Lease {
 public:
  Lease(Lease&& other) noexcept;
  Lease& operator=(Lease&&) = delete;
  ~Lease();

  size_t group() const { return group_; }

 private:
  friend class Home;
  Lease(Home& home, size_t group, Access access);

  Home* home_;  // null: moved from
  size_t group_;
  Access access_;
};

// memory.weights: where the weights of a table live between their turns. Everything that
// looks at a weight's numbers, or at what is beside it, borrows its group first. A home
// knows nothing of autograd or of the model: it may exchange the memory behind a tensor
// between two leases, never the tensor (its TensorImpl and its Storage stay, and with
// them hooks, views and what a graph has kept).
//
// A matrix of Weight::by_rows is never brought as a whole: rows() has it, read() and
// write(), and pass(). The same may be so of what is beside it.
//
// Leases nest, also on one group; of several blocks at once a home may refuse
// (std::logic_error). One thread uses a home.
class Home {
 public:
  explicit Home(Table& table);
  virtual ~Home() = default;
  Home(const Home&) = delete;
  Home& operator=(const Home&) = delete;

  Table& table() const { return table_; }

  // The numbers are here when this returns. Throws Error where they cannot be brought.
  Lease borrow(size_t group, Access access);
  // That a group will be borrowed soon: a home may begin to bring it. Groups are named in
  // the order in which they will be.
  virtual void expect(size_t /*group*/, Access /*access*/) {}
  // How many groups beyond the one at hand are worth naming.
  virtual size_t ahead() const { return 1; }

  // A matrix of a borrowed group, for who needs some rows of it at a time.
  virtual ops::MatrixRows rows(const Weight& weight) { return weight.here; }
  // All bytes of a weight of a borrowed group, or of what is beside it by that name, in
  // order and in pieces of whole elements.
  using Read = std::function<void(std::span<const std::byte>)>;
  virtual void read(const Weight& weight, const std::string& state, const Read& use);
  void read(const Weight& weight, const Read& use) { read(weight, "", use); }
  // And written: `fill(offset, piece)` gives its bytes from `offset` on.
  using Fill = std::function<void(int64_t, std::span<std::byte>)>;
  virtual void write(Weight& weight, const std::string& state, const Fill& fill);
  void write(Weight& weight, const Fill& fill) { write(weight, "", fill); }
  // Calls use(begin, end) for all rows of a trained matrix of a borrowed group in order:
  // these rows of Weight::here, and what is beside them, are there meanwhile, at their
  // place in the whole. `step`: of what begin, and end but for the last, must be
  // multiples; 0: of anything. With Access::kWrite both may be changed.
  using Pass = std::function<void(int64_t begin, int64_t end)>;
  virtual void pass(Weight& weight, int64_t step, Access access, const Pass& use);

  // Makes what is beside each trained weight, zeros, unless it is there already.
  using States = std::function<std::vector<StateSpec>(const Weight&)>;
  virtual void make_states(const States& states);

  // Whether a group's turn costs traffic, so that all micro-batches had better share it.
  virtual bool streams() const { return false; }
  virtual Traffic traffic() const { return {}; }
  // Of its working file.
  virtual int64_t disk_bytes() const { return 0; }
  // Bytes that are in memory, of weights and of what is beside them.
  struct Here {
    int64_t weights = 0, states = 0;
  };
  virtual Here here() const;

 protected:
  // Before the first lease on a group, and again where a later one asks for more.
  virtual void bring(size_t group, Access access) = 0;
  // After the last lease, of which any may have written. Throws nothing: what the disk
  // refuses shows when something is brought.
  virtual void take_back(size_t group, bool written) = 0;

 private:
  friend class Lease;
  struct Borrowed {
    int leases = 0;
    Access access = Access::kRead;  // the most that was asked for
    bool written = false;
  };
  void give_back(size_t group, Access access);

  Table& table_;
  std::vector<Borrowed> borrowed_;
};

// What a home is made of.
struct HomeSetup {
  // Of what the optimizer keeps, whatever memory.states says.
  StatesMode states_live() const;
  // Whether anything of a block lives elsewhere than on the device.
  bool moves() const {
    return weights != WeightsMode::kResident || states_live() != StatesMode::kDevice;
  }

  WeightsMode weights = WeightsMode::kResident;
  StatesMode states = StatesMode::kWithWeights;
  c10::Device device = c10::kCPU;  // the one that computes
  // For what lives elsewhere.
  std::filesystem::path scratch = {};  // folder of the disk's working file
  int64_t ahead = 2;                   // groups that are brought before their turn
  int64_t resident_blocks = 0;         // that stay, the last ones
};

// Makes room for the weights of `table` where they are to live, of which is settled what
// is trained (select()). Weights that have no tensor yet get one, and nobody's numbers.
// Throws Error where there is no room.
std::unique_ptr<Home> make_home(const HomeSetup& setup, Table& table);

}  // namespace lowmem::weights
