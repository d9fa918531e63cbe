#pragma once

// Frozen matrices in 8 bits a weight, with a scale for each row (output). Dettmers et al.
// 2022, "LLM.int8(): 8-bit Matrix Multiplication for Transformers at Scale".
//
//   weights are cast to fp16;   scale = the largest magnitude of the row, in fp32
//   code = weight * ((1 / scale) * 127), rounded to nearest, ties to even: -127 to 127
//   back: code * (scale * (1 / 127)), each product in fp32
//
// That is bitsandbytes (0.50), bit for bit: codes and scales everywhere, the way back as
// its linear layers go it. Its int8_vectorwise_dequant, for merging, multiplies by the
// scale first, which may be one unit in the last place of fp32 away.

#include <cstdint>

#include "lowmem/kernels/elements.h"
#include "lowmem/kernels/stream.h"

namespace lowmem::kernels {

// Codes and scale of one row. Returns whether fp16 can hold all values: those from 65520
// on would be infinite. Codes and scale of a row that it cannot mean nothing. A row of
// zeros has the scale 0.
bool quantize_int8(const ConstArray& row, int64_t count, int8_t* codes, float* scale);

// `count` elements of a row, rounded once, to nearest, where they become bf16.
void dequantize_int8(const int8_t* codes, float scale, int64_t count, Array out);

namespace LOWMEM_DEVICE {

// Whole matrices [rows, columns], scales [rows]. The number of rows that fp16 cannot hold
// is added to *not_finite.
void quantize_int8(const ConstArray& values, int64_t rows, int64_t columns, int8_t* codes,
                   float* scales, int64_t* not_finite, Stream stream);
// Of a matrix `width` wide a part [rows, columns], into one that is contiguous; codes and
// scales from its beginning on.
void dequantize_int8(const int8_t* codes, const float* scales, int64_t rows,
                     int64_t columns, int64_t width, Array out, Stream stream);

}  // namespace LOWMEM_DEVICE

}  // namespace lowmem::kernels
