#pragma once

// Storing updated weights and optimizer state, shared by all optimizers.

#include "noise.h"

namespace lowmem::kernels::LOWMEM_ISA {

// Calls f(begin, end) over pieces of at most NoiseStream::kMost elements, cut at the same
// places whatever the range, so that noise is drawn once.
template <class F>
LOWMEM_INLINE void for_pieces(int64_t begin, int64_t end, F&& f) {
  while (begin < end) {
    const int64_t next =
        std::min(end, (begin / NoiseStream::kMost + 1) * NoiseStream::kMost);
    f(begin, next);
    begin = next;
  }
}

// Writes elements of one parameter. T is float or Bf16.
template <class T, Rounding kRounding>
class WeightWriter {
 public:
  explicit WeightWriter(const ParamView& weights)
      : weights_(weights), noise_(weights.noise) {}

  LOWMEM_INLINE void begin_piece(int64_t begin, int64_t end) {
    if constexpr (kRounding == Rounding::kStochastic) noise_.fill(begin, end - begin);
  }

  // `value`: what element i and those after it become, from `old`.
  template <class Lanes>
  LOWMEM_INLINE void write(int64_t i, Float16 old, Float16 value, Lanes lanes) {
    T* to = static_cast<T*>(weights_.data) + i;
    if constexpr (std::is_same_v<T, float>) {
      store(to, value, lanes);
    } else {
      if (weights_.report) count(old, value, lanes);
      if constexpr (kRounding == Rounding::kStochastic) {
        store_bits(to, round_stochastically(value, noise_.at(i, lanes)), lanes);
      } else if constexpr (kRounding == Rounding::kNearest) {
        store(to, value, lanes);
      } else {
        Bf16* compensation = weights_.compensation + i;
        const Float16 exact = value + load(compensation, lanes);
        const Bits16 rounded = round_to_nearest(exact);
        store_bits(to, rounded, lanes);
        store(compensation, exact - widen(rounded), lanes);
      }
    }
  }

  const RoundingReport& report() const { return report_; }

 private:
  template <class Lanes>
  LOWMEM_INLINE void count(Float16 old, Float16 value, Lanes lanes) {
    const Float16 now = only(value, lanes);
    const Int16 moved = now != old;  // -1 where it is so
    const Int16 stuck = widen(round_to_nearest(now)) == old;
    report_.updates += count_true(moved);
    report_.lost += count_true(moved & stuck);
  }

  ParamView weights_;
  NoiseStream noise_;
  RoundingReport report_;
};

// Calls f(writer) with the writer that `weights` asks for; returns what it counted.
template <class F>
LOWMEM_INLINE RoundingReport with_writer(const ParamView& weights, F&& f) {
  const auto run = [&](auto writer) {
    f(writer);
    return writer.report();
  };
  if (weights.dtype == DType::kF32)
    return run(WeightWriter<float, Rounding::kNearest>(weights));
  switch (weights.rounding) {
    case Rounding::kStochastic:
      return run(WeightWriter<Bf16, Rounding::kStochastic>(weights));
    case Rounding::kKahan:
      return run(WeightWriter<Bf16, Rounding::kKahan>(weights));
    case Rounding::kNearest:
      break;
  }
  return run(WeightWriter<Bf16, Rounding::kNearest>(weights));
}

// Reads and writes an optimizer's state. T is float or Bf16; for codes see code_stream.h.
template <class T>
class StateStream {
 public:
  explicit StateStream(const State& state)
      : data_(static_cast<T*>(state.data)), noise_(state.noise) {}

  LOWMEM_INLINE void begin_piece(int64_t begin, int64_t end) {
    if constexpr (std::is_same_v<T, Bf16>) noise_.fill(begin, end - begin);
  }
  template <class Lanes>
  LOWMEM_INLINE Float16 read(int64_t i, Lanes lanes) const {
    return load(data_ + i, lanes);
  }
  template <class Lanes>
  LOWMEM_INLINE void write(int64_t i, Float16 value, Lanes lanes) {
    if constexpr (std::is_same_v<T, Bf16>)
      store_bits(data_ + i, round_stochastically(value, noise_.at(i, lanes)), lanes);
    else
      store(data_ + i, value, lanes);
  }
  LOWMEM_INLINE void end_piece(int64_t, int64_t) {}

 private:
  T* data_;
  NoiseStream noise_;
};

}  // namespace lowmem::kernels::LOWMEM_ISA
