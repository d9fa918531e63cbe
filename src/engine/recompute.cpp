#include <ATen/ATen.h>

#include "activations_policies.h"

namespace lowmem::engine {

at::Tensor Recompute::forward(const BlockCall& call, const at::Tensor& input,
                              SavedBlock& saved) {
  const at::NoGradGuard no_graph;
  if (!call.input_again) saved.input = input;
  return call.block.forward(input, call.packed, call.rows);
}

at::Tensor Recompute::backward(const BlockCall& call, at::Tensor output_gradient,
                               SavedBlock& saved) {
  const at::Tensor kept = std::exchange(saved, {}).input;
  return backward_from(call, kept.defined() ? kept : call.input_again(),
                       std::move(output_gradient));
}

at::Tensor Recompute::backward_from(const BlockCall& call, const at::Tensor& kept,
                                    at::Tensor output_gradient) {
  const at::Tensor input = leaf(kept, call.input_gradient);
  return run_backward(run_with_graph(call, input, ops::Output::kGraph),
                      std::move(output_gradient), input);
}

}  // namespace lowmem::engine
