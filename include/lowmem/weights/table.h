#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <deque>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "lowmem/core/dtype.h"
#include "lowmem/weights/spec.h"

namespace lowmem::weights {

// A weight, and all that belongs to it and to no other.
struct Weight {
  Spec spec;
  uint32_t index = 0;          // its place in the table, trained or not
  DType format = DType::kF32;  // what it is stored in
  bool trained = false;
  double lr_ratio = 1;   // its learning rate over the run's
  bool by_rows = false;  // never here as a whole: Home::rows() has it
  // What is computed with, of the spec's shape. Keeps its identity for as long as the
  // table lives; its numbers are here while a lease on its group is held
  // (weights/home.h).
  at::Tensor here = {};
  std::map<std::string, at::Tensor> beside = {};  // the optimizer's, by its own names
  int64_t updates = 0;                            // that were made; not on a GPU

  const std::string& name() const { return spec.name; }
  int64_t bytes() const { return spec.elements() * dtype_size(format); }
};

// What an optimizer keeps beside a weight.
struct StateSpec {
  std::string name;  // the optimizer's own
  std::vector<int64_t> shape;
  at::ScalarType type = at::kFloat;

  int64_t bytes() const;
};

// Zeros beside the weight, on its device, unless they are there already.
void keep_zeros(Weight& weight, const StateSpec& state);

// All weights of a model in file order. Weights keep their address.
class Table {
 public:
  // Without tensors: a home makes them, or allocate(). `format`: of all that have no type
  // of their own.
  Table(std::vector<Spec> specs, DType format);
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;

  std::deque<Weight>& all() { return weights_; }
  const std::deque<Weight>& all() const { return weights_; }
  Weight* find(const std::string& name);
  const Weight* find(const std::string& name) const;
  // A bug where there is none.
  Weight& at(const std::string& name);

  size_t groups() const { return groups_.size(); }
  size_t top() const { return groups_.size() - 1; }
  std::span<Weight* const> group(size_t group) const { return groups_[group]; }

  // Of all weights, and of the trained ones.
  int64_t bytes() const;
  int64_t trained_elements() const;
  bool trains(size_t group) const;
  // The bytes of what optimizers keep beside them.
  int64_t beside_bytes() const;

  // Room for every weight that has none yet, uninitialised.
  void allocate(c10::Device device);
  void allocate(Weight& weight, c10::Device device);

 private:
  std::deque<Weight> weights_;
  std::vector<std::vector<Weight*>> groups_;
  std::map<std::string, Weight*> by_name_;
};

}  // namespace lowmem::weights
