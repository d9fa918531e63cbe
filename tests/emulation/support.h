#pragma once

// What tests of device kernels share: arrays whose bounds are checked, and launches that
// must not matter to the result.

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "emulation/cuda.h"
#include "emulation/guarded.h"
#include "lowmem/core/random.h"
#include "lowmem/kernels/elements.h"

namespace lowmem::kernels::test {

constexpr DType kTypes[] = {DType::kF32, DType::kBF16};

inline std::string type_name(DType dtype) {
  return dtype == DType::kF32 ? "Fp32" : "Bf16";
}
inline std::string name_of_type(const testing::TestParamInfo<DType>& given) {
  return type_name(given.param);
}

// Below a thread's eight, a warp's 256 numbers and a block's 2048, at them, and above.
inline const std::vector<int64_t>& lengths() {
  static const std::vector<int64_t> all{1, 7, 8, 9, 33, 256, 264, 1001, 2048, 4107};
  return all;
}
// Elements by which arrays begin off a multiple of 16 bytes.
constexpr int64_t kShifts[] = {0, 3};

// Numbers that a kernel reads or writes, on the CPU and on the device alike. Of kU8: 0 to
// 255.
class Numbers {
 public:
  Numbers(int64_t count, DType dtype, int64_t shift = 0)
      : dtype_(dtype),
        count_(count),
        memory_(std::make_unique<emulation::Guarded>(
            static_cast<size_t>(count) * width(), static_cast<size_t>(shift) * width())) {
    std::memset(memory_->begin(), 0, memory_->bytes());
  }
  // Uniform in [low, high).
  Numbers(int64_t count, DType dtype, int64_t shift, uint64_t seed, float low = -1,
          float high = 1)
      : Numbers(count, dtype, shift) {
    Random random(seed);
    for (int64_t i = 0; i < count; ++i) set(i, low + (high - low) * random.uniform());
  }

  Array array() { return {memory_->begin(), dtype_}; }
  ConstArray read_only() const { return {memory_->begin(), dtype_}; }
  template <class T>
  T* as() {
    return reinterpret_cast<T*>(memory_->begin());
  }
  int64_t count() const { return count_; }

  float at(int64_t i) const {
    const unsigned char* from = memory_->begin() + static_cast<size_t>(i) * width();
    if (dtype_ == DType::kBF16) {
      Bf16 x;
      std::memcpy(&x, from, sizeof x);
      return to_float(x);
    }
    if (dtype_ == DType::kU8) return *from;
    float x;
    std::memcpy(&x, from, sizeof x);
    return x;
  }
  void set(int64_t i, float x) {
    unsigned char* to = memory_->begin() + static_cast<size_t>(i) * width();
    const Bf16 half = round_to_nearest(x);
    if (dtype_ == DType::kBF16)
      std::memcpy(to, &half, sizeof half);
    else if (dtype_ == DType::kU8)
      *to = static_cast<unsigned char>(x);
    else
      std::memcpy(to, &x, sizeof x);
  }
  std::string bytes() const {
    EXPECT_TRUE(memory_->is_whole()) << "written outside of an array";
    return {reinterpret_cast<const char*>(memory_->begin()), memory_->bytes()};
  }

 private:
  size_t width() const { return static_cast<size_t>(dtype_size(dtype_)); }

  DType dtype_;
  int64_t count_;
  std::unique_ptr<emulation::Guarded> memory_;
};

template <class T>
std::string bytes_of(const T& x) {
  return {reinterpret_cast<const char*>(&x), sizeof x};
}

// What `run` returns, which must be the same when a block's threads run in another order
// and when the grid is smaller than the work.
inline std::string for_all_launches(const std::function<std::string()>& run) {
  const std::string want = run();
  const emulation::Settings others[] = {{.backwards = true},
                                        {.backwards = false, .most_blocks = 1},
                                        {.backwards = true, .most_blocks = 3}};
  for (const emulation::Settings& other : others) {
    const emulation::WithSettings scope(other);
    EXPECT_TRUE(run() == want) << (other.backwards ? "backwards, " : "")
                               << other.most_blocks << " blocks";
  }
  return want;
}

// Units in the last place of fp32, or of bf16, that lie between two numbers.
inline int64_t units_between(float a, float b, DType dtype) {
  const auto place = [](float x) {
    const auto bits = std::bit_cast<int32_t>(x);
    return static_cast<int64_t>(bits < 0 ? INT32_MIN - bits : bits);
  };
  const int64_t units = std::abs(place(a) - place(b));
  return dtype == DType::kF32 ? units : units >> 16;
}

// `got` is `want` to `units` in the last place, or to `absolute`.
inline void expect_near(const Numbers& got, const Numbers& want, DType dtype,
                        int64_t units, float absolute = 0) {
  int64_t wrong = 0, first = -1;
  for (int64_t i = 0; i < want.count(); ++i) {
    if (units_between(got.at(i), want.at(i), dtype) <= units) continue;
    if (std::abs(got.at(i) - want.at(i)) <= absolute) continue;
    if (first < 0) first = i;
    ++wrong;
  }
  EXPECT_EQ(wrong, 0) << "first at " << first << ": " << got.at(first < 0 ? 0 : first)
                      << ", not " << want.at(first < 0 ? 0 : first);
}

}  // namespace lowmem::kernels::test
