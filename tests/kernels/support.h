#pragma once

// What tests of kernels share: numbers of either type, ranges cut in pieces, and what a
// kernel wrote as bytes.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "lowmem/core/random.h"
#include "lowmem/kernels/elements.h"
#include "lowmem/kernels/isa.h"

namespace lowmem::kernels::test {

// Numbers in memory, between guards that no kernel may touch. Of kU8: 0 to 255.
class Numbers {
 public:
  Numbers(int64_t count, DType dtype)
      : dtype_(dtype),
        width_(static_cast<size_t>(dtype_size(dtype))),
        count_(count),
        bytes_((static_cast<size_t>(count) + 2 * kGuard) * width_) {
    std::fill_n(bytes_.begin(), kGuard * width_, kGuardByte);
    std::fill_n(bytes_.rbegin(), kGuard * width_, kGuardByte);
  }
  // Uniform in [low, high).
  Numbers(int64_t count, DType dtype, uint64_t seed, float low = -1, float high = 1)
      : Numbers(count, dtype) {
    Random random(seed);
    for (int64_t i = 0; i < count; ++i) set(i, low + (high - low) * random.uniform());
  }

  Array array() { return {begin(), dtype_}; }
  ConstArray read_only() const { return {begin(), dtype_}; }
  template <class T>
  T* as() {
    return reinterpret_cast<T*>(begin());
  }
  int64_t count() const { return count_; }

  float at(int64_t i) const {
    const std::byte* from = begin() + static_cast<size_t>(i) * width_;
    if (dtype_ == DType::kF32) return read<float>(from);
    if (dtype_ == DType::kU8) return read<uint8_t>(from);
    return to_float(Bf16{read<uint16_t>(from)});
  }
  void set(int64_t i, float x) {
    std::byte* to = begin() + static_cast<size_t>(i) * width_;
    const Bf16 half = round_to_nearest(x);
    if (dtype_ == DType::kF32)
      std::memcpy(to, &x, sizeof x);
    else if (dtype_ == DType::kU8)
      *to = static_cast<std::byte>(x);
    else
      std::memcpy(to, &half, sizeof half);
  }

  // The numbers and their guards.
  std::string bytes() const {
    return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()};
  }
  bool guards_are_whole() const {
    const auto guard = static_cast<std::ptrdiff_t>(kGuard * width_);
    const auto whole = [](std::byte byte) { return byte == kGuardByte; };
    return std::all_of(bytes_.begin(), bytes_.begin() + guard, whole) &&
           std::all_of(bytes_.end() - guard, bytes_.end(), whole);
  }

 private:
  static constexpr size_t kGuard = 32;
  static constexpr std::byte kGuardByte{0x5b};

  template <class T>
  static T read(const std::byte* from) {
    T x;
    std::memcpy(&x, from, sizeof x);
    return x;
  }
  std::byte* begin() { return bytes_.data() + kGuard * width_; }
  const std::byte* begin() const { return bytes_.data() + kGuard * width_; }

  DType dtype_;
  size_t width_;
  int64_t count_;
  std::vector<std::byte> bytes_;
};

// As an update sees them.
inline ParamView weights_of(Numbers& numbers, Rounding rounding,
                            const Noise& noise = {}) {
  ParamView weights;
  weights.data = numbers.array().data;
  weights.dtype = numbers.array().dtype;
  weights.rounding = rounding;
  weights.noise = noise;
  return weights;
}

inline std::string bytes_of(const RoundingReport& report) {
  return std::to_string(report.updates) + "," + std::to_string(report.lost) + ";";
}

// A way to go through a range: pieces of some length, which need not divide it, from
// either end.
struct Cut {
  int64_t piece;
  bool backwards = false;

  void operator()(int64_t count, const std::function<void(int64_t, int64_t)>& f) const {
    const int64_t pieces = (count + piece - 1) / piece;
    for (int64_t k = 0; k < pieces; ++k) {
      const int64_t at = backwards ? pieces - 1 - k : k;
      f(at * piece, std::min(count, (at + 1) * piece));
    }
  }
};
constexpr int64_t kWhole = int64_t{1} << 40;

inline std::vector<Isa> isas() {
  std::vector<Isa> all;
  for (const Isa isa : {Isa::kPortable, Isa::kAvx2, Isa::kAvx512})
    if (isa <= best_isa()) all.push_back(isa);
  return all;
}

// Kernels use `isa` for as long as this lives.
class WithIsa {
 public:
  explicit WithIsa(Isa isa) : before_(kernels::isa()) { use_isa(isa); }
  ~WithIsa() { use_isa(before_); }
  WithIsa(const WithIsa&) = delete;
  WithIsa& operator=(const WithIsa&) = delete;

 private:
  Isa before_;
};

// `run` gives what a kernel wrote when its range was gone through by a cut: it must be
// the same for every cut and on every instruction set.
inline void expect_same_bits(const std::vector<Cut>& cuts,
                             const std::function<std::string(const Cut&)>& run) {
  std::string want;
  {
    const WithIsa portable(Isa::kPortable);
    want = run({kWhole});
  }
  for (const Isa isa : isas()) {
    const WithIsa chosen(isa);
    for (const Cut& cut : cuts)
      EXPECT_TRUE(run(cut) == want) << isa_name(isa) << ", pieces of " << cut.piece;
  }
}

// Lengths on both sides of the vector, the noise's turn and its longest piece.
inline const std::vector<int64_t>& lengths() {
  static const std::vector<int64_t> all{1, 7, 15, 16, 17, 63, 65, 511, 513, 1000, 4097};
  return all;
}

}  // namespace lowmem::kernels::test
