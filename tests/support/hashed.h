#pragma once

// scripts/references/_hashed.py once more.

#include <cmath>
#include <cstdint>
#include <vector>

namespace lowmem::kernels::test {

// Exact in fp32: 24 bits of [-1, 1) and a power of two from 1 to 2^-7.
inline float draw(int64_t i, int64_t stream) {
  uint32_t x = static_cast<uint32_t>(i + stream * 1000003);
  for (const uint32_t factor : {0x85EBCA6Bu, 0xC2B2AE35u}) x = (x ^ (x >> 16)) * factor;
  x ^= x >> 16;
  const float fraction = static_cast<float>(static_cast<int32_t>(x >> 8) - (1 << 23));
  return std::ldexp(fraction, -23 - static_cast<int>(x & 7));
}

// FNV-1a of the numbers' bytes.
template <class T>
uint32_t fnv(const std::vector<T>& numbers) {
  uint32_t value = 0x811C9DC5;
  const auto* bytes = reinterpret_cast<const unsigned char*>(numbers.data());
  for (size_t i = 0; i < numbers.size() * sizeof(T); ++i)
    value = (value ^ bytes[i]) * 0x01000193;
  return value;
}

}  // namespace lowmem::kernels::test
