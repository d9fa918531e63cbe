#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "lowmem/weights/adapter.h"
#include "lowmem/weights/adapter_settings.h"

// How AdaLoRA shares ranks out among layers: Zhang et al. 2023, "Adaptive Budget
// Allocation for Parameter-Efficient Fine-Tuning", with the rules of PEFT. A layer
// multiplies by W + scale * B @ (E * A), E [rank, 1] in place of singular values. A
// triplet is a row of A, its number of E and its column of B; while training goes on, the
// numbers of E of the least important triplets of all layers together become 0.
namespace lowmem::weights {

// How many triplets are left after each update, which are counted from 1.
class RankSchedule {
 public:
  // `all`: the triplets at first. `steps`: of the run.
  RankSchedule(const AdapterConfig& adapter, int64_t all, int64_t layers, int64_t steps);

  // From here on the triplets that are left are settled.
  int64_t settled() const { return steps_ - tfinal_; }
  // Whether triplets are chosen after this update, and how many are left then.
  bool chooses(int64_t update) const;
  int64_t left(int64_t update) const;

 private:
  int64_t all_, target_, steps_, tinit_, tfinal_, delta_t_;
};

// Of a run: what its step asks of it, in this order. Keeps two fp32 numbers an element of
// A, B and E, beside the weights like what an optimizer keeps, and a byte a triplet.
//
// An adapter's weights, and what is beside them, are in memory whatever their home:
// nothing here borrows a group.
class RankBudget {
 public:
  // `table` has the adapter's weights, and outlives it. `steps`: of the run. Throws Error
  // where the schedule does not fit them.
  RankBudget(Table& table, const AdapterConfig& adapter, int64_t steps);

  // What is kept beside a weight; nothing for those that are of no triplet.
  std::vector<StateSpec> states_of(const Weight& weight) const;
  // Once that and the weights are there: of an adapter that has come down already, the
  // triplets that are gone are known for it.
  void begin();

  // Adds to the gradient of an A or a B, [rank, in] or [out, rank] fp32, that of its part
  // of orthogonality(); leaves others alone. A triplet of zeros is not there.
  void add_orthogonality(const Weight& weight, at::Tensor& gradient);
  // orth_reg_weight * the mean over all A and B of |A @ A.T - 1| and |B.T @ B - 1|
  // (Frobenius), of each as add_orthogonality() saw it last.
  double orthogonality() const;

  // After a weight was updated: each element's importance |number * gradient * scale|,
  // with the number as it is now, goes into its average and into that of its uncertainty.
  // `gradient` is contiguous. `update` counts from 1. Nothing once ranks are settled.
  void score(Weight& weight, const at::Tensor& gradient, float scale, int64_t update);

  // After all weights were: chooses what is left where the schedule says so, and sets the
  // others' E to 0; once ranks are settled, after every update.
  void allocate(int64_t update);

  // Triplets that are left, of all layers.
  int64_t rank() const;

 private:
  struct Layer {
    Weight *a, *b, *e;
  };
  enum class Part { kA, kB, kE };

  std::vector<Layer> layers_;
  std::unordered_map<const Weight*, Part> triplets_;
  RankSchedule schedule_;
  float beta1_, beta2_, rest1_, rest2_;
  double share_ = 0;                       // orth_reg_weight / matrices
  std::map<uint32_t, double> deviations_;  // |A @ A.T - 1|, by the weight's index

  static std::vector<float> scores_of(const Layer& layer);
  void choose(int64_t left);
};

// Those whose E is not 0. All of them where none is, as before the first step; empty for
// other kinds of adapter.
TripletsLeft triplets_left(const Table& table, const AdapterConfig& adapter);

}  // namespace lowmem::weights
