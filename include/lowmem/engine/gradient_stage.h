#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>

#include "lowmem/ops/matrix_rows.h"
#include "lowmem/weights/table.h"

namespace lowmem::engine {

// One stage on a gradient's way: shares of micro-batches are added up, and the sum is
// measured, kept or applied. Each hands on to the next.
class GradientStage {
 public:
  virtual ~GradientStage() = default;
  // A weight's gradient, of its shape, in its type or fp32; where that is not in memory
  // as a whole, by rows. Takes it over. Called once a weight and pass, in the order in
  // which gradients are complete.
  virtual void take(weights::Weight& weight, ops::MatrixRows gradient) = 0;
  // All gradients of a group have come.
  virtual void done(size_t /*group*/) {}
  // The pass is over. False: and the step with it.
  virtual bool finish() { return true; }
  // The step is broken off.
  virtual void drop() {}
};

}  // namespace lowmem::engine
