#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

#include "lowmem/loss/linear_cross_entropy.h"
#include "lowmem/ops/embedding.h"
#include "lowmem/ops/matrix_rows.h"

namespace lowmem::engine {

// A batch's gradients by the matrices of the edges where these are not in memory as a
// whole: made by rows, each time somebody looks at them, with the bits of those that are
// made in one go.

// By a head: loss::head_gradient(). The request's weight must be there by rows, with the
// numbers that the loss was made with.
std::shared_ptr<ops::RowSource> head_gradient_by_rows(loss::LossRequest request,
                                                      at::Tensor log_sum_exp,
                                                      const loss::LossOptions& options);

// By an embedding, whose `weight` tells the shape and the type: the gradients of tokens,
// added to the rows of `head`, or to zeros where that is null.
std::shared_ptr<ops::RowSource> embedding_gradient_by_rows(
    const at::Tensor& weight, std::shared_ptr<ops::RowSource> head,
    std::vector<ops::EmbeddedTokens> parts);

}  // namespace lowmem::engine
