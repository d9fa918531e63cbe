#pragma once

// Kernels on a GPU. `cuda::rms_norm` does what `rms_norm` does, with these differences:
//
//   - all pointers are to memory of the device that is current;
//   - it takes whole arrays, but for what updates weights, and a stream, on which it is
//     put: the call returns before the work is done;
//   - what a CPU kernel returns is written to device memory, so that nothing waits for
//   it;
//   - it asks for no memory: where it needs some, the caller gives it as `workspace`.
//
// Results depend on the arguments alone, not on the GPU: sums are added up in an order
// that follows from the sizes. Elementwise results are those of the CPU kernel, bit for
// bit. A launch that fails throws Error.
//
// 16 bytes are read and written at a time where addresses allow it. Misaligned arrays are
// served too, several times slower.

#include <cstdint>
#include <limits>

// The namespace of device kernels. Tests compile the same files once more, for the CPU,
// into `emulated`.
#ifndef LOWMEM_DEVICE
#define LOWMEM_DEVICE cuda
#endif

namespace lowmem::kernels {

// A cudaStream_t; null is the default stream.
using Stream = void*;

// What changes from step to step, in device memory, so that a launch recorded in a CUDA
// graph reads the numbers of the step it is replayed in.
struct StepNumbers {
  double lr = 0;
  uint32_t step = 0;                                          // of the noise
  float step_size = 0, root = 1, decoupled_keep = 1;          // adam's
  float most_ratio = std::numeric_limits<float>::infinity();  // likewise
};

// Numbers of an update that are on the device, where they may still be computed when it
// is launched.
struct Pending {
  // Times the arguments' scale of the gradient. Null: that alone.
  const float* scale = nullptr;
  // Of the gradient: nothing is written unless it is within fp32's range, at most
  // FLT_MAX, which NaN is not. The CPU's rule: UpdateResult::is_finite. Null: always
  // written.
  const double* squared_norm = nullptr;
  // In place of the arguments' own numbers: `step` of all noise, sgd's and adafactor's
  // lr, what adam has of it. Null: those of the arguments.
  const StepNumbers* step = nullptr;
};

}  // namespace lowmem::kernels
