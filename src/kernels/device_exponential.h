#pragma once

#include "device.h"

namespace lowmem::kernels::LOWMEM_DEVICE {

// e^x, by the operations of exponential() in vector.h and to the same bits. Some thirty
// instructions, which the memory that they wait for hides.
__device__ inline float exponential(float x) {
  const float bounded = x > 89.0f ? 89.0f : x;
  constexpr float kShift = 12582912.0f;
  const float shifted = bounded * 1.44269504f + kShift;
  const float n = shifted - kShift;
  const float r = (bounded - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  const uint32_t scale = (std::bit_cast<uint32_t>(shifted) - (0x4b400000u - 127u)) << 23;
  return bounded < -87.3f ? 0.0f : p * std::bit_cast<float>(scale);
}

__device__ inline float sigmoid(float x) { return 1.0f / (1.0f + exponential(-x)); }

}  // namespace lowmem::kernels::LOWMEM_DEVICE
