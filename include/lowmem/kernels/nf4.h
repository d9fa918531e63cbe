#pragma once

// Frozen matrices in 4 bits a weight: NF4, and its scales in 8 bits. Dettmers et al.
// 2023, "QLoRA: Efficient Finetuning of Quantized LLMs".
//
// A matrix [out, in] is read as one row of out * in weights, of which each 64 are a block
// with a scale, the largest magnitude among them. Blocks go across the ends of rows; the
// last may be short. A weight divided by its scale becomes the nearest of 16 levels:
//
//   codes   uint8 [(count + 1) / 2]   two weights each, the first in the upper four bits
//   absmax  fp32 [(count + 63) / 64]  scales, or, nested:
//     absmax_codes   uint8 [(count + 63) / 64]   signed codes of dynamic_map.h, of what
//                                                the scales are away from their mean
//     nested_absmax  fp32 [a 256th of these]     the scale of 256 such codes
//     offset         fp32                        the mean
//
// That is 4.5 bits a weight, nested 4.127. Everything is bitsandbytes' (0.50) PyTorch
// implementation, bit for bit, but for one number: its mean is added up in fp32, in an
// order that depends on the machine; ours in double, which is often a unit in the last
// place away. Its compiled library for CPUs gives absmax_codes that are not the nearest.

#include <array>
#include <cstdint>

#include "lowmem/kernels/elements.h"
#include "lowmem/kernels/stream.h"

namespace lowmem::kernels {

constexpr int64_t kNf4Block = 64;    // weights of a scale
constexpr int64_t kNf4Nested = 256;  // scales of a nested one

constexpr int64_t nf4_bytes(int64_t count) { return (count + 1) / 2; }
constexpr int64_t nf4_blocks(int64_t count) {
  return (count + kNf4Block - 1) / kNf4Block;
}
constexpr int64_t nf4_nested(int64_t blocks) {
  return (blocks + kNf4Nested - 1) / kNf4Nested;
}

// What a code stands for: bitsandbytes' get_4bit_type("nf4").
constexpr std::array<float, 16> kNf4Levels{
    -1.0f,
    -0.6961928009986877f,
    -0.5250730514526367f,
    -0.39491748809814453f,
    -0.28444138169288635f,
    -0.18477343022823334f,
    -0.09105003625154495f,
    0.0f,
    0.07958029955625534f,
    0.16093020141124725f,
    0.24611230194568634f,
    0.33791524171829224f,
    0.44070982933044434f,
    0.5626170039176941f,
    0.7229568362236023f,
    1.0f,
};

// A matrix in 4 bits, with scales in either form: `absmax`, or the three nested arrays
// where that is null.
struct Nf4View {
  const uint8_t* codes = nullptr;
  const float* absmax = nullptr;
  const uint8_t* absmax_codes = nullptr;
  const float* nested_absmax = nullptr;
  float offset = 0;
  const float* offset_there = nullptr;  // in place of it, in a device's memory
};

// Codes and scales of `count` values, which must be finite. A matrix may be quantized in
// pieces that begin at multiples of kNf4Block. As in bitsandbytes, a short block's values
// are divided by its scale, those of whole blocks multiplied by the scale's reciprocal; a
// whole block of zeros has the scale 0, a short one 1e-38; and an odd count is followed
// by the code of 0.
void quantize_nf4(const ConstArray& values, int64_t count, uint8_t* codes, float* absmax);

// Elements [first, first + count) of the matrix as fp32 or bf16: level times scale in
// fp32, rounded once, to nearest. Fastest for whole blocks; any first and count is right.
void dequantize_nf4(const Nf4View& matrix, int64_t first, int64_t count, Array out);

// The nested form of `count` scales. All of a matrix at once: *offset is the mean of all.
void quantize_absmax(const float* absmax, int64_t count, uint8_t* codes,
                     float* nested_absmax, float* offset);

namespace LOWMEM_DEVICE {

void quantize_nf4(const ConstArray& values, int64_t count, uint8_t* codes, float* absmax,
                  Stream stream);
// Of a matrix `width` wide a part [rows, columns] that begins with element `first`, into
// one that is contiguous. Fastest where all but `rows` are multiples of 8.
void dequantize_nf4(const Nf4View& matrix, int64_t first, int64_t rows, int64_t columns,
                    int64_t width, Array out, Stream stream);
void quantize_absmax(const float* absmax, int64_t count, uint8_t* codes,
                     float* nested_absmax, float* offset, Stream stream);

}  // namespace LOWMEM_DEVICE

}  // namespace lowmem::kernels
