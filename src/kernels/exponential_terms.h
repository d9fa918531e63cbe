#pragma once

// The numbers of e^x, shared by the vector loops and the device kernels, which give the
// same bits.
namespace lowmem::kernels::exponential_terms {

constexpr float kMost = 89.0f, kLeast = -87.3f;  // beyond: infinity, 0
constexpr float kLog2E = 1.44269504f;
// Adding it rounds to an integer, which is then in the lowest bits: 1.5 * 2^23, less the
// exponent's bias.
constexpr float kShift = 12582912.0f;
constexpr unsigned kShiftBits = 0x4b400000u - 127u;
// log(2) in two parts, of which n times the first is exact.
constexpr float kLog2High = 0.693359375f, kLog2Low = -2.12194440e-4f;
// e^r = 1 + r + r^2 (k0 + k1 r + ...) for |r| <= log(2) / 2.
constexpr float k0 = 5.0000001201e-1f, k1 = 1.6666665459e-1f, k2 = 4.1665795894e-2f,
                k3 = 8.3334519073e-3f, k4 = 1.3981999507e-3f, k5 = 1.9875691500e-4f;

}  // namespace lowmem::kernels::exponential_terms
