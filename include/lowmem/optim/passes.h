#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>

#include "lowmem/kernels/elements.h"
#include "lowmem/ops/matrix_rows.h"
#include "lowmem/weights/home.h"

namespace lowmem::optim {

// A weight and its gradient as a rule goes over them: as a whole, or some rows of a
// matrix at a time where they are not in memory together. In order, as often as the rule
// asks; what it makes of them does not depend on how they are cut. On a device everything
// is put on its stream.
class Passes {
 public:
  // `gradient`: contiguous or not, of the weight's shape, in its type or fp32. Null: the
  // weight, and what is beside it, is here. `norm`: the gradient's squared norm where it
  // has been measured, on the CPU.
  Passes(weights::Weight& weight, const ops::MatrixRows& gradient,
         weights::Home* home = nullptr, std::optional<double> norm = {});

  // Elements [begin, end), which are there meanwhile; of the weight and of what is beside
  // it at Weight's addresses. All count from the first element of the whole. Whole rows,
  // in multiples of kernels::kCodeBlock, but for the last.
  struct Piece {
    int64_t begin, end;
    kernels::ConstArray gradient;
  };
  // Access::kRead for the weight alone, kWrite for what is beside it as well.
  void each(weights::Access access, const std::function<void(const Piece&)>& use) const;

  // Of the gradient. On a device added to `sum` [1] double.
  double squared_norm() const;
  void add_squared_norm(const at::Tensor& sum) const;
  const ops::MatrixRows& gradient() const { return gradient_; }

 private:
  void each_part(
      weights::Access access,
      const std::function<void(int64_t begin, const at::Tensor& gradient)>& use) const;

  weights::Weight& weight_;
  ops::MatrixRows gradient_;
  weights::Home* home_;
  std::optional<double> norm_;
};

}  // namespace lowmem::optim
