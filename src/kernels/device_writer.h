#pragma once

// Storing updated weights and optimizer state, shared by all optimizers: weight_writer.h
// for the device.

#include <type_traits>

#include "device_eights.h"

namespace lowmem::kernels::LOWMEM_DEVICE {

// Noise::at() for eight elements from `element`, a multiple of eight: one counter's
// words.
__device__ inline Bits noise_of(const Noise& noise, int64_t element) {
  const uint64_t index = static_cast<uint64_t>(element) / kEight;
  uint32_t x0 = static_cast<uint32_t>(index), x1 = static_cast<uint32_t>(index >> 32);
  uint32_t x2 = noise.parameter, x3 = noise.step;
  uint32_t key0 = static_cast<uint32_t>(noise.seed);
  uint32_t key1 = static_cast<uint32_t>(noise.seed >> 32);
  LOWMEM_UNROLL
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = static_cast<uint64_t>(x0) * 0xD2511F53;
    const uint64_t product1 = static_cast<uint64_t>(x2) * 0xCD9E8D57;
    x0 = static_cast<uint32_t>(product1 >> 32) ^ x1 ^ key0;
    x1 = static_cast<uint32_t>(product1);
    x2 = static_cast<uint32_t>(product0 >> 32) ^ x3 ^ key1;
    x3 = static_cast<uint32_t>(product0);
    key0 += 0x9E3779B9;
    key1 += 0xBB67AE85;
  }
  const uint32_t words[4] = {x0, x1, x2, x3};
  Bits bits;
  LOWMEM_UNROLL
  for (int k = 0; k < kEight; ++k)
    bits.at[k] = static_cast<uint16_t>(k % 2 == 0 ? words[k / 2] : words[k / 2] >> 16);
  return bits;
}

__device__ inline Bits rounded_stochastically(const Eight& x, const Bits& noise) {
  Bits bits;
  LOWMEM_UNROLL
  for (int k = 0; k < kEight; ++k)
    bits.at[k] = round_stochastically(x.at[k], noise.at[k]).bits;
  return bits;
}

// Writes elements of one parameter. T is float or Bf16. How bf16 is rounded is asked at
// run time: the same answer for all threads costs nothing, and each kernel is compiled
// once instead of three times.
template <class T>
class WeightWriter {
 public:
  // Counts what rounding would lose where `report` is given.
  __device__ WeightWriter(const ParamView& weights, RoundingReport* report)
      : weights_(weights), report_(report) {}

  // Whether 16 bytes at a time fit what is kept beside the weights.
  __device__ bool vectors() const { return all_aligned(weights_.compensation); }

  // `value`: what eight elements from i on become, from `old`. i is a multiple of eight.
  template <class Lanes>
  __device__ void write(int64_t i, const Eight& old, const Eight& value, Lanes lanes) {
    T* to = static_cast<T*>(weights_.data) + i;
    if constexpr (std::is_same_v<T, float>) {
      store(to, value, lanes);
    } else {
      if (report_ != nullptr) count(old, value, lanes);
      if (weights_.rounding == Rounding::kStochastic)
        store_bits(to, rounded_stochastically(value, noise_of(weights_.noise, i)), lanes);
      else if (weights_.rounding == Rounding::kNearest)
        store(to, value, lanes);
      else
        write_compensated(to, i, value, lanes);
    }
  }

  // Adds what was counted to the report. All threads of a block must call it.
  __device__ void finish() const {
    if constexpr (std::is_same_v<T, Bf16>) {
      if (report_ == nullptr) return;
      const int64_t updates = block_sum(updates_), lost = block_sum(lost_);
      if (threadIdx.x != 0) return;
      add_together(&report_->updates, updates);
      add_together(&report_->lost, lost);
    }
  }

 private:
  template <class Lanes>
  __device__ void write_compensated(Bf16* to, int64_t i, const Eight& value,
                                    Lanes lanes) {
    Bf16* beside = weights_.compensation + i;
    const Eight owed = load(beside, lanes);
    const Eight exact = eight_of([&](int k) { return value.at[k] + owed.at[k]; });
    const Bits rounded = rounded_to_nearest(exact);
    store_bits(to, rounded, lanes);
    store(beside,
          eight_of([&](int k) { return exact.at[k] - to_float(Bf16{rounded.at[k]}); }),
          lanes);
  }
  template <class Lanes>
  __device__ void count(const Eight& old, const Eight& value, Lanes lanes) {
    for_each(lanes, [&](int k) {
      const float was = old.at[k], now = value.at[k];
      const bool moved = now != was;
      updates_ += moved;
      lost_ += moved && to_float(round_to_nearest(now)) == was;
    });
  }

  const ParamView& weights_;
  RoundingReport* report_;
  int64_t updates_ = 0, lost_ = 0;
};

// Reads and writes an optimizer's state; i as above. T is float or Bf16; for codes see
// device_codes.h.
template <class T>
class StateStream {
 public:
  __device__ explicit StateStream(const State& state)
      : data_(static_cast<T*>(state.data)), noise_(state.noise) {}

  __device__ bool vectors() const { return all_aligned(data_); }

  template <class Lanes>
  __device__ Eight read(int64_t i, Lanes lanes) const {
    return load(data_ + i, lanes);
  }
  template <class Lanes>
  __device__ void write(int64_t i, const Eight& x, Lanes lanes) {
    if constexpr (std::is_same_v<T, Bf16>)
      store_bits(data_ + i, rounded_stochastically(x, noise_of(noise_, i)), lanes);
    else
      store(data_ + i, x, lanes);
  }
  __device__ void finish(int64_t, int64_t) {}

 private:
  T* data_;
  const Noise& noise_;
};

}  // namespace lowmem::kernels::LOWMEM_DEVICE
