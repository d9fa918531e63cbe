#pragma once

// Numbers rounded to fp16's grid, in fp32, which holds it exactly.

namespace lowmem::kernels::fp16_grid {

// Below this a unit of the last place is 2^-24 whatever the number, which is that of
// numbers from kSubnormalShift to 1: adding it rounds.
constexpr float kLeastNormal = 0x1p-14f, kSubnormalShift = 0.5f;
constexpr float kInfinite = 65536;  // from there on, when rounded
// The 13 bits of fp32 that fp16 has not.
constexpr unsigned kCut = 13, kCutMask = (1u << kCut) - 1;

// Adding it rounds a number below 2^22 to a whole one, which is then in its lower bits.
constexpr float kWholeShift = 0x1.8p23f;

}  // namespace lowmem::kernels::fp16_grid
