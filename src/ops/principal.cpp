#include "lowmem/ops/principal.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "lowmem/memory/rehearsal.h"

namespace lowmem::ops {
namespace {

// Rows that are widened to double at a time.
constexpr int64_t kSliceElements = int64_t{1} << 20;

template <class F>
void for_row_slices(const at::Tensor& matrix, F&& f) {
  const int64_t rows = matrix.size(0);
  const int64_t slice = std::max<int64_t>(1, kSliceElements / matrix.size(1));
  for (int64_t first = 0; first < rows; first += slice) {
    const int64_t count = std::min(slice, rows - first);
    f(first, count, matrix.narrow(0, first, count).to(at::kDouble));
  }
}

// tall.T @ tall, in double; tall [n, k] with n >= k.
at::Tensor gram_of(const at::Tensor& tall) {
  const int64_t k = tall.size(1);
  at::Tensor gram = at::zeros({k, k}, tall.options().dtype(at::kDouble));
  for_row_slices(tall, [&](int64_t, int64_t, const at::Tensor& rows) {
    gram.addmm_(rows.t(), rows);
  });
  return gram;
}

// The room that principal_part() takes, for a rehearsal.
Principal room_of(const at::Tensor& matrix, int64_t rank) {
  const int64_t out = matrix.size(0), in = matrix.size(1);
  const int64_t n = std::min(out, in), longer = std::max(out, in);
  at::Tensor transposed;
  if (out < in) transposed = at::empty_like(matrix);
  const auto doubles = matrix.options().dtype(at::kDouble);
  // And what a slice's product with `rank` vectors is.
  const auto take_slice = [&](int64_t vectors) {
    const int64_t rows = std::min(longer, std::max<int64_t>(1, kSliceElements / n));
    at::empty({rows * (n + vectors)}, doubles);
  };
  at::Tensor vectors;
  {
    const at::Tensor gram = at::empty({n, n}, doubles);
    take_slice(0);
    // LAPACK's dsyevd: in place of a copy, with a workspace.
    vectors = at::empty({n, n}, doubles);
    at::empty({2 * n * n + 6 * n + 1}, doubles);
  }
  const at::Tensor both = at::empty({n + longer, rank}, doubles);
  take_slice(rank);
  return {at::empty({matrix.size(0), rank}, matrix.options()),
          at::empty({rank}, matrix.options()),
          at::empty({rank, matrix.size(1)}, matrix.options())};
}

}  // namespace

int64_t principal_room(int64_t out, int64_t in) {
  const int64_t n = std::min(out, in);
  return 4 * out * in * (out < in ? 2 : 1) + 32 * n * n;
}

Principal principal_part(const at::Tensor& matrix, int64_t rank) {
  const at::NoGradGuard no_grad;
  if (memory::rehearsing()) return room_of(matrix, rank);
  const bool tall = matrix.size(0) >= matrix.size(1);
  const at::Tensor by_columns = tall ? matrix : matrix.t().contiguous();
  const auto [values, vectors] = at::linalg_eigh(gram_of(by_columns));
  // They rise.
  const int64_t n = by_columns.size(1);
  const at::Tensor best = vectors.narrow(1, n - rank, rank).flip({1}).contiguous();
  const at::Tensor roots = values.narrow(0, n - rank, rank).flip({0}).clamp_min(0).sqrt();
  at::Tensor other = at::empty({by_columns.size(0), rank}, best.options());
  for_row_slices(by_columns, [&](int64_t first, int64_t count, const at::Tensor& rows) {
    other.narrow(0, first, count).copy_(at::mm(rows, best));
  });
  // A matrix of lower rank has no direction there.
  const at::Tensor sizes = at::linalg_vector_norm(other, 2, {0});
  other.div_(at::where(sizes > 0, sizes, at::ones_like(sizes)));
  const at::Tensor left = (tall ? other : best).to(at::kFloat).contiguous();
  const at::Tensor right = (tall ? best : other).to(at::kFloat).t().contiguous();
  return {left, roots.to(at::kFloat), right};
}

OrthogonalPart orthogonal_part(const at::Tensor& matrix, int64_t rank) {
  const at::NoGradGuard no_grad;
  if (memory::rehearsing()) {
    const at::Tensor q = at::empty({matrix.size(0), rank}, at::kDouble);
    const at::Tensor copy = at::empty_like(q);
    const at::Tensor rows = at::empty({rank, matrix.size(1)}, at::kDouble);
    const int64_t slice = std::max<int64_t>(1, kSliceElements / matrix.size(1));
    at::empty({std::min(matrix.size(0), slice), matrix.size(1)}, at::kDouble);
    return {at::empty({matrix.size(0), rank}, at::kFloat),
            at::empty({rank, matrix.size(1)}, at::kFloat)};
  }
  // Later columns change nothing of the first ones' Q.
  const at::Tensor q =
      std::get<0>(at::linalg_qr(matrix.narrow(1, 0, rank).to(at::kDouble), "reduced"));
  at::Tensor rows = at::zeros({rank, matrix.size(1)}, q.options());
  for_row_slices(matrix, [&](int64_t first, int64_t count, const at::Tensor& part) {
    rows.addmm_(q.narrow(0, first, count).t(), part);
  });
  return {q.to(at::kFloat).contiguous(), rows.to(at::kFloat)};
}

}  // namespace lowmem::ops
