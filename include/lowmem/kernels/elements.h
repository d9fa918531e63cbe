#pragma once

// How kernels see numbers: fp32 and bf16 in memory, fp32 in registers.

#include <bit>
#include <cstdint>

#include "lowmem/core/dtype.h"
#include "lowmem/core/random.h"

namespace lowmem::kernels {

// A bf16 as it lies in memory: the upper half of a float.
struct Bf16 {
  uint16_t bits;
};

inline float to_float(float x) { return x; }
inline float to_float(Bf16 x) {
  return std::bit_cast<float>(static_cast<uint32_t>(x.bits) << 16);
}

// Ties to even. NaN stays NaN.
inline Bf16 round_to_nearest(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  if ((bits & 0x7fffffff) > 0x7f800000)
    return {static_cast<uint16_t>((bits >> 16) | 0x40)};
  return {static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16)};
}

// Up or down with the probability that makes the mean exact: `noise`, 16 random bits, is
// added below the mantissa and the rest cut off. Exact for every finite value; infinities
// and NaN keep their kind.
inline Bf16 round_stochastically(float x, uint16_t noise) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  if ((bits & 0x7f800000) == 0x7f800000) return round_to_nearest(x);
  return {static_cast<uint16_t>((bits + noise) >> 16)};
}

enum class Rounding { kNearest, kStochastic };

// The noise of one update of one parameter: element i's 16 bits are a function of these
// numbers and of i alone, whatever thread or device asks.
struct Noise {
  uint64_t seed = 0;
  uint32_t step = 0;
  uint32_t parameter = 0;

  // Eight elements' bits come from one counter. Callers walk elements in order, so keep
  // the block of the last one.
  struct Block {
    uint64_t index = ~uint64_t{0};
    std::array<uint32_t, 4> bits{};
  };
  uint16_t at(int64_t element, Block& block) const {
    const uint64_t index = static_cast<uint64_t>(element) / 8;
    if (block.index != index) {
      block.bits = philox(seed, index, (static_cast<uint64_t>(step) << 32) | parameter);
      block.index = index;
    }
    const uint32_t word = block.bits[static_cast<uint64_t>(element) % 8 / 2];
    return static_cast<uint16_t>(element % 2 == 0 ? word : word >> 16);
  }
};

// Stores updated weights; fp32 needs no rounding.
class Store {
 public:
  Store(Rounding rounding, const Noise& noise) : rounding_(rounding), noise_(noise) {}

  void operator()(float* weights, int64_t element, float value) {
    weights[element] = value;
  }
  void operator()(Bf16* weights, int64_t element, float value) {
    weights[element] = rounding_ == Rounding::kStochastic
                           ? round_stochastically(value, noise_.at(element, block_))
                           : round_to_nearest(value);
  }

 private:
  Rounding rounding_;
  Noise noise_;
  Noise::Block block_;
};

// A tensor of either type, by address. Elements are contiguous.
struct Weights {
  void* data;
  DType dtype;  // kF32 or kBF16
};
struct Gradient {
  const void* data;
  DType dtype;  // kF32 or kBF16
};

// Calls f(const float*) or f(const Bf16*).
template <class F>
auto with_type(const Gradient& gradient, F&& f) {
  return gradient.dtype == DType::kF32 ? f(static_cast<const float*>(gradient.data))
                                       : f(static_cast<const Bf16*>(gradient.data));
}
// Calls f(float*) or f(Bf16*).
template <class F>
auto with_type(const Weights& weights, F&& f) {
  return weights.dtype == DType::kF32 ? f(static_cast<float*>(weights.data))
                                      : f(static_cast<Bf16*>(weights.data));
}

}  // namespace lowmem::kernels
