#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

// Decompositions of a whole matrix, for adapters that begin with a part of it. On the
// CPU; what comes back is contiguous.
namespace lowmem::ops {

// The part of a matrix [out, in] with its `rank` largest singular values:
// left * values @ right.
struct Principal {
  at::Tensor left;    // [out, rank] fp32, columns of norm 1
  at::Tensor values;  // [rank] fp32, falling
  at::Tensor right;   // [rank, in] fp32, rows of norm 1
                      // Beside a value of 0 one of the two sides is 0.
};

// `matrix` [out, in] fp32, rank <= min(out, in). By the eigenvectors of the smaller of
// matrix.T @ matrix and matrix @ matrix.T in double, so that a value is right to 1e-7 of
// the largest. With n = min(out, in): 9 n^3 + 2 n^2 max(out, in) operations, and 4 n^2
// doubles beside the matrix, and a copy of one that is wide. A rehearsal makes that room.
Principal principal_part(const at::Tensor& matrix, int64_t rank);
// Bytes that it takes, about.
int64_t principal_room(int64_t out, int64_t in);

// The first `rank` columns of Q [out, rank] and rows of R [rank, in] of matrix = Q @ R,
// by Householder's reflections; fp32, computed in double.
struct OrthogonalPart {
  at::Tensor q, r;
};
OrthogonalPart orthogonal_part(const at::Tensor& matrix, int64_t rank);

}  // namespace lowmem::ops
