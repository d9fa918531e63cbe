#pragma once

// How kernels see numbers: fp32, bf16 and codes in memory, fp32 in registers.

#include <bit>
#include <cstdint>
#include <type_traits>

#include "lowmem/core/dtype.h"
#include "lowmem/core/random.h"

namespace lowmem::kernels {

// A bf16 as it lies in memory: the upper half of a float.
struct Bf16 {
  uint16_t bits;
};

constexpr float to_float(float x) { return x; }
constexpr float to_float(Bf16 x) {
  return std::bit_cast<float>(static_cast<uint32_t>(x.bits) << 16);
}

// Ties to even. NaN stays NaN.
constexpr Bf16 round_to_nearest(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  if ((bits & 0x7fffffff) > 0x7f800000)
    return {static_cast<uint16_t>((bits >> 16) | 0x40)};
  return {static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16)};
}

// Up or down with the probability that makes the mean exact: `noise`, 16 random bits, is
// added below the mantissa and the rest cut off. Exact for every finite value; infinities
// and NaN keep their kind.
constexpr Bf16 round_stochastically(float x, uint16_t noise) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  if ((bits & 0x7f800000) == 0x7f800000) return round_to_nearest(x);
  return {static_cast<uint16_t>((bits + noise) >> 16)};
}

// kKahan rounds to nearest and keeps what was lost beside the weight, to be added to the
// next update (Kahan 1965; for bf16 training Zamirai et al. 2020).
enum class Rounding { kNearest, kStochastic, kKahan };

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

// A parameter as an update sees it: contiguous elements, and how its new values are
// stored. fp32 needs no rounding.
struct ParamView {
  void* data = nullptr;
  DType dtype = DType::kF32;  // kF32 or kBF16
  Rounding rounding = Rounding::kNearest;
  Noise noise;
  Bf16* compensation = nullptr;  // kKahan's, like data
  bool report = false;           // whether to count what rounding to nearest would lose
};

// Contiguous elements that are only read, and ones that may be written.
struct ConstArray {
  const void* data = nullptr;
  DType dtype = DType::kF32;  // kF32 or kBF16
};
struct Array {
  void* data = nullptr;
  DType dtype = DType::kF32;  // kF32 or kBF16
  operator ConstArray() const { return {data, dtype}; }
};

// Codes of 8 bits, of numbers of either sign or of none (dynamic_map.h): fractions of the
// scale of kCodeBlock consecutive elements, which is the largest magnitude among them. An
// array's last block may have fewer.
struct SignedCode {
  uint8_t code;
};
struct UnsignedCode {
  uint8_t code;
};
template <class T>
constexpr bool kIsCode = std::is_same_v<T, SignedCode> || std::is_same_v<T, UnsignedCode>;
constexpr int64_t kCodeBlock = 256;
constexpr int64_t code_blocks(int64_t count) {
  return (count + kCodeBlock - 1) / kCodeBlock;
}

// An optimizer's memory of each element; in bf16 it is rounded stochastically, since an
// average that moves by less than half a unit would otherwise stand still.
struct State {
  void* data = nullptr;
  DType dtype = DType::kF32;  // kF32, kBF16, or kU8: codes
  Noise noise;                // kBF16's
  float* scales = nullptr;    // kU8's: code_blocks(count)
};

// What rounding to nearest would have lost of some updates.
struct RoundingReport {
  int64_t updates = 0;  // that are not zero
  int64_t lost = 0;     // of which so many would have left their bf16 weight as it was

  RoundingReport& operator+=(const RoundingReport& other) {
    updates += other.updates;
    lost += other.lost;
    return *this;
  }
};

// Calls f(const float*) or f(const Bf16*).
template <class F>
auto with_type(const ConstArray& array, F&& f) {
  return array.dtype == DType::kF32 ? f(static_cast<const float*>(array.data))
                                    : f(static_cast<const Bf16*>(array.data));
}
// Calls f(float*) or f(Bf16*).
template <class Owner, class F>
auto with_mutable_type(const Owner& owner, F&& f) {
  return owner.dtype == DType::kF32 ? f(static_cast<float*>(owner.data))
                                    : f(static_cast<Bf16*>(owner.data));
}
// Calls f(mean, square) with the types of averages of numbers and of their squares, which
// are both float, both Bf16, or a SignedCode and an UnsignedCode.
template <class F>
auto with_averages(const State& mean, const State& square, F&& f) {
  switch (mean.dtype) {
    case DType::kU8:
      return f(static_cast<SignedCode*>(mean.data),
               static_cast<UnsignedCode*>(square.data));
    case DType::kBF16:
      return f(static_cast<Bf16*>(mean.data), static_cast<Bf16*>(square.data));
    default:
      return f(static_cast<float*>(mean.data), static_cast<float*>(square.data));
  }
}

}  // namespace lowmem::kernels
