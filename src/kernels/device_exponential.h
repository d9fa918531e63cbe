#pragma once

#include "device.h"
#include "exponential_terms.h"

namespace lowmem::kernels::LOWMEM_DEVICE {

// e^x, by the operations of exponential() in vector.h and to the same bits. Some thirty
// instructions: on a large GPU more than two bytes of memory traffic take, and little
// beside the matrix product that made x.
__device__ inline float exponential(float x) {
  using namespace exponential_terms;
  const float bounded = x > kMost ? kMost : x;
  const float shifted = bounded * kLog2E + kShift;
  const float n = shifted - kShift;
  const float r = (bounded - n * kLog2High) - n * kLog2Low;
  float p = k5;
  p = p * r + k4;
  p = p * r + k3;
  p = p * r + k2;
  p = p * r + k1;
  p = p * r + k0;
  p = p * (r * r) + r + 1.0f;
  const uint32_t scale = (std::bit_cast<uint32_t>(shifted) - kShiftBits) << 23;
  return bounded < kLeast ? 0.0f : p * std::bit_cast<float>(scale);
}

__device__ inline float sigmoid(float x) { return 1.0f / (1.0f + exponential(-x)); }

}  // namespace lowmem::kernels::LOWMEM_DEVICE
