#pragma once

#include <array>
#include <cstdint>

namespace lowmem {

// Philox4x32-10: 128 random bits as a pure function of (key, counter), so that any
// element of any stream can be drawn alone, on any device, in any order. Salmon et al.
// 2011, "Parallel random numbers: as easy as 1, 2, 3".
std::array<uint32_t, 4> philox(uint64_t key, uint64_t counter_low, uint64_t counter_high);

// A sequential view of one Philox stream. Copies continue independently. O(1) memory.
class Random {
 public:
  // Streams with different (seed, stream) pairs are independent.
  explicit Random(uint64_t seed, uint64_t stream = 0) : seed_(seed), stream_(stream) {}

  uint32_t next();
  // Uniform in [0, bound) without bias (Lemire 2019). `bound` > 0.
  uint32_t below(uint32_t bound);
  // Uniform in [0, 1), 24 bits.
  float uniform();

 private:
  uint64_t seed_;
  uint64_t stream_;
  uint64_t counter_ = 0;
  int left_ = 0;
  std::array<uint32_t, 4> block_{};
};

}  // namespace lowmem
