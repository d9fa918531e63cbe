#include "lowmem/optim/passes.h"

#include <ATen/ATen.h>

#include <bit>

#include "lowmem/kernels/norm.h"
#include "lowmem/ops/device.h"
#include "lowmem/ops/elements.h"

namespace lowmem::optim {
namespace {

// What Home::pass() cuts at (weights/rows_in_turn.cpp).
static_assert(DirectFile::kAlignment % kernels::cuda::kNormPiece == 0);
static_assert(DirectFile::kAlignment % kernels::kCodeBlock == 0);

// As a kernel sees the whole, of which the part begins at that element.
kernels::ConstArray from_the_first(const at::Tensor& part, int64_t begin) {
  kernels::ConstArray array = ops::const_array_of(part);
  // As an address in numbers: before the part there may be nothing to point to.
  array.data =
      std::bit_cast<const void*>(std::bit_cast<uintptr_t>(array.data) -
                                 static_cast<uintptr_t>(begin * part.element_size()));
  return array;
}

}  // namespace

Passes::Passes(weights::Weight& weight, const ops::MatrixRows& gradient,
               weights::Home* home, std::optional<double> norm)
    : weight_(weight),
      gradient_(gradient.is_whole() ? gradient.whole().contiguous() : gradient),
      home_(home),
      norm_(norm) {}

void Passes::each(weights::Access access,
                  const std::function<void(const Piece&)>& use) const {
  each_part(access, [&](int64_t begin, const at::Tensor& part) {
    use({begin, begin + part.numel(), from_the_first(part, begin)});
  });
}

double Passes::squared_norm() const {
  if (norm_) return *norm_;
  if (gradient_.is_whole()) return ops::squared_norm(gradient_.whole());
  ops::SquaredNorm norm;
  each_part(weights::Access::kRead,
            [&](int64_t, const at::Tensor& part) { norm.add(part); });
  return norm.total();
}

void Passes::add_squared_norm(const at::Tensor& sum) const {
  const int64_t count = kernels::cuda::norm_pieces(weight_.here.numel());
  at::Tensor pieces = at::empty({count}, sum.options());
  auto* const norms = pieces.mutable_data_ptr<double>();
  const kernels::Stream stream = ops::stream_of(sum);
  each(weights::Access::kRead, [&](const Piece& piece) {
    kernels::cuda::squared_norms(piece.gradient, piece.begin, piece.end, norms, stream);
  });
  kernels::cuda::add_squared_norms(norms, count, sum.mutable_data_ptr<double>(), stream);
}

void Passes::each_part(
    weights::Access access,
    const std::function<void(int64_t begin, const at::Tensor& gradient)>& use) const {
  if (home_ == nullptr || weight_.here.dim() != 2) return use(0, gradient_.whole());
  const int64_t columns = weight_.here.size(1);
  home_->pass(weight_, gradient_.step(), access, [&](int64_t begin, int64_t end) {
    use(begin * columns, gradient_.slice(begin, end));
  });
}

}  // namespace lowmem::optim
