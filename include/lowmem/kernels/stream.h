#pragma once

// Kernels on a GPU. `cuda::rms_norm` does what `rms_norm` does, with these differences:
//
//   - all pointers are to memory of the device that is current;
//   - it takes whole arrays instead of a range, and a stream, on which it is put: the
//     call returns before the work is done;
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

// The namespace of device kernels. Tests compile the same files once more, for the CPU,
// into `emulated`.
#ifndef LOWMEM_DEVICE
#define LOWMEM_DEVICE cuda
#endif

namespace lowmem::kernels {

// A cudaStream_t; null is the default stream.
using Stream = void*;

// Numbers that an update needs and that are still being computed on the device when it is
// launched. Null pointers stand for nothing to wait for.
struct Pending {
  const float* scale = nullptr;          // of the gradient, times the arguments' scale
  const double* squared_norm = nullptr;  // where it is not finite, nothing is written
};

}  // namespace lowmem::kernels
