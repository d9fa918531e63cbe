#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lowmem/optim/optimizer.h"
#include "lowmem/weights/rank_budget.h"

namespace lowmem::engine {

// What a step's gradients came to.
struct GradientReport {
  double norm = 0;  // of all finite gradients together, before clipping
  kernels::RoundingReport rounding;
  // Parameters whose gradient is not finite, and which were left as they are.
  std::vector<std::string> nonfinite;
  // With a budget of ranks: what of the step's mean loss is its term of orthogonality,
  // and the triplets that are left.
  double orthogonality = 0;
  std::optional<int64_t> rank;
};

// A report that a device may still be at work on.
class PendingReport {
 public:
  virtual ~PendingReport() = default;
  virtual GradientReport wait() = 0;
};

// Applies gradients and keeps their sums: the norm, what is not finite, what rounding
// would have lost. On the CPU all of it is known at once; on a device it stays there, and
// the updates look for themselves whether they may write.
class GradientBook {
 public:
  virtual ~GradientBook() = default;

  virtual void begin(const optim::StepInfo& step) = 0;
  // Nothing is written in this step where `loss`, [] double, is not finite. Of the
  // CPU's book the caller has looked already.
  virtual void guard(const at::Tensor& loss) = 0;
  // Adds a gradient to the norm, without updating.
  virtual void measure(weights::Weight& weight, const ops::MatrixRows& gradient) = 0;
  // Scales what follows so that the measured norm is at most `clip_norm`, as
  // torch.nn.utils.clip_grad_norm_ does. False where the norm is known not to be finite.
  virtual bool clip(double clip_norm) = 0;
  // Updates a weight, and measures its gradient unless clip() has been called.
  virtual void update(weights::Weight& weight, const ops::MatrixRows& gradient) = 0;
  // Of everything since begin().
  virtual std::unique_ptr<PendingReport> report() = 0;
};

// `home`: of the weights, some of which may be there by rows alone. `budget`: scores what
// is updated, or null.
std::unique_ptr<GradientBook> host_book(optim::Optimizer& optimizer, weights::Home& home,
                                        weights::RankBudget* budget);
std::unique_ptr<GradientBook> device_book(optim::Optimizer& optimizer,
                                          weights::Home& home);

}  // namespace lowmem::engine
