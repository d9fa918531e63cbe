#pragma once

#include <cstddef>
#include <memory>

#include "lowmem/config/choices.h"
#include "lowmem/weights/table.h"

namespace lowmem::weights {

enum class Access { kRead, kWrite };

class Home;

// A group of weights, with what is beside them, borrowed for reading or for reading and
// writing: while it lives Weight::here has its numbers. Gives back when it ends.
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
// Leases nest, also on one group. One thread uses a home.
class Home {
 public:
  explicit Home(Table& table);
  virtual ~Home() = default;
  Home(const Home&) = delete;
  Home& operator=(const Home&) = delete;

  Table& table() const { return table_; }

  // The numbers are here when this returns.
  Lease borrow(size_t group, Access access);
  // That a group will be borrowed soon: a home may begin to bring it.
  virtual void expect(size_t /*group*/, Access /*access*/) {}

 protected:
  // Before the first lease on a group, and after the last, of which any may have written.
  virtual void bring(size_t group) = 0;
  virtual void take_back(size_t group, bool written) = 0;

 private:
  friend class Lease;
  struct Borrowed {
    int leases = 0;
    bool written = false;
  };
  void give_back(size_t group, Access access);

  Table& table_;
  std::vector<Borrowed> borrowed_;
};

// Makes room for the weights of `table` where they are to live: `device` is the one that
// computes. Its numbers are nobody's yet.
std::unique_ptr<Home> make_home(WeightsMode mode, Table& table, c10::Device device);

}  // namespace lowmem::weights
