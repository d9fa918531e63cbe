#pragma once

#include <torch/csrc/autograd/custom_function.h>

#include <cstddef>
#include <vector>

namespace lowmem::ops {

// Whether each of `count` tensors, the arguments from `first` on, wants a gradient.
inline std::vector<bool> wanted_of(torch::autograd::AutogradContext* context,
                                   size_t first, size_t count) {
  std::vector<bool> wanted;
  for (size_t i = 0; i < count; ++i)
    wanted.push_back(context->needs_input_grad(first + i));
  return wanted;
}

}  // namespace lowmem::ops
