#pragma once

// CUDA's device language for machines without CUDA: what device code of this project uses
// of it, as ordinary C++. Included by src/kernels/device.h in place of CUDA's headers.
//
// A launch runs its blocks one after another on the calling thread. Each thread of a
// block is a fiber, which runs until it waits for others. Found out, and thrown as
// Failure out of the launch:
//
//   - barriers and warp operations that not all of their threads reach, or at different
//     places, because some have ended or wait elsewhere;
//   - a shuffle that reads a lane which takes no part;
//   - blocks and grids of a size that no GPU takes;
//   - writes just outside an array in shared memory, when the block ends. The address
//     sanitizer sees them at once, and reads too.
//
// Shared memory is new for each block and full of NaN. Threads run in order, or backwards
// on demand: where results differ, a barrier is missing.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <source_location>
#include <stdexcept>
#include <type_traits>

#include "lowmem/kernels/stream.h"

#define __global__
#define __device__
#define __host__
#define LOWMEM_UNROLL
#define LOWMEM_BLOCK_ARRAY(T, name, count)                    \
  T* const name = static_cast<T*>(::emulation::shared_memory( \
      [] {                                                    \
        static char key;                                      \
        return &key;                                          \
      }(),                                                    \
      sizeof(T) * (count)))

namespace emulation {

struct Index {
  unsigned x = 0, y = 0, z = 0;
};

class Failure : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Settings {
  bool backwards = false;         // threads of a block run from the last to the first
  int64_t most_blocks = 1 << 16;  // of a grid whose kernel goes on from its end
};
Settings& settings();

// Settings that are put back when this goes.
class WithSettings {
 public:
  explicit WithSettings(const Settings& wanted) : before_(settings()) {
    settings() = wanted;
  }
  ~WithSettings() { settings() = before_; }
  WithSettings(const WithSettings&) = delete;
  WithSettings& operator=(const WithSettings&) = delete;

 private:
  Settings before_;
};

// Runs `thread` once for each thread of the grid.
void run(int64_t blocks, int threads, const std::function<void()>& thread);

using Place = std::source_location;

// The running block's array that belongs to `key`.
void* shared_memory(const void* key, size_t bytes);
void sync_threads(Place place);

// Waits until all lanes of `mask` have called it at this place. What they gave lies in
// values[lane]; that of lanes outside the mask is not defined.
struct Exchanged {
  const uint64_t* values;
  uint32_t mask;
  uint64_t from(unsigned lane) const;  // throws unless the lane is of the mask
};
Exchanged exchange(uint32_t mask, uint64_t value, Place place);

template <class T>
uint64_t to_bits(T value) {
  static_assert(std::is_arithmetic_v<T>);
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return bits;
}
template <class T>
T from_bits(uint64_t bits) {
  T value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

constexpr unsigned kWarp = 32;

}  // namespace emulation

inline emulation::Index threadIdx, blockIdx, blockDim, gridDim;

inline void __syncthreads(emulation::Place place = emulation::Place::current()) {
  emulation::sync_threads(place);
}
inline void __syncwarp(uint32_t mask = 0xffffffff,
                       emulation::Place place = emulation::Place::current()) {
  emulation::exchange(mask, 0, place);
}
template <class T>
T __shfl_sync(uint32_t mask, T value, int lane,
              emulation::Place place = emulation::Place::current()) {
  const auto given = emulation::exchange(mask, emulation::to_bits(value), place);
  return emulation::from_bits<T>(
      given.from(static_cast<unsigned>(lane) % emulation::kWarp));
}
template <class T>
T __shfl_xor_sync(uint32_t mask, T value, int lanes,
                  emulation::Place place = emulation::Place::current()) {
  const auto given = emulation::exchange(mask, emulation::to_bits(value), place);
  return emulation::from_bits<T>(
      given.from((threadIdx.x % emulation::kWarp) ^ static_cast<unsigned>(lanes)));
}
// From the lane `lanes` above; the last ones keep their own value.
template <class T>
T __shfl_down_sync(uint32_t mask, T value, unsigned lanes,
                   emulation::Place place = emulation::Place::current()) {
  const auto given = emulation::exchange(mask, emulation::to_bits(value), place);
  const unsigned own = threadIdx.x % emulation::kWarp, from = own + lanes;
  return emulation::from_bits<T>(given.from(from < emulation::kWarp ? from : own));
}
inline uint32_t __ballot_sync(uint32_t mask, bool vote,
                              emulation::Place place = emulation::Place::current()) {
  const auto given = emulation::exchange(mask, vote, place);
  uint32_t votes = 0;
  for (unsigned lane = 0; lane < emulation::kWarp; ++lane)
    if ((mask >> lane & 1) != 0 && given.from(lane) != 0) votes |= uint32_t{1} << lane;
  return votes;
}

namespace lowmem::kernels::LOWMEM_DEVICE {

// As in src/kernels/cuda_launch.h.
inline int64_t grid_of(int64_t blocks) {
  const int64_t most = emulation::settings().most_blocks;
  return blocks < most ? blocks : most;
}

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), int64_t blocks, int threads, Stream,
            Arguments... arguments) {
  if (blocks == 0) return;
  emulation::run(blocks, threads, [&] { kernel(arguments...); });
}

inline void add_together(int64_t* to, int64_t x) { *to += x; }

}  // namespace lowmem::kernels::LOWMEM_DEVICE
