#include "lowmem/io/convert.h"

#include <bit>
#include <cstring>
#include <stdexcept>

namespace lowmem {
namespace {

// Each rule is straight-line integer arithmetic (selections, no branches), so that the
// loops over it become vector code.

float from_bf16(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

float from_f16(uint16_t bits) {
  constexpr uint32_t kExponent = 0x1Fu << 23;
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
  const uint32_t magnitude = static_cast<uint32_t>(bits & 0x7FFF) << 13;
  const uint32_t exponent = magnitude & kExponent;
  const uint32_t normal = magnitude + ((127u - 15) << 23);
  const uint32_t infinite = magnitude + ((255u - 31) << 23);
  // 2^-14 (1 + m / 1024) - 2^-14: exact, and no denormal on the way, so that a processor
  // set to flush those gives the same.
  const float denormal = std::bit_cast<float>(magnitude + (113u << 23)) - 0x1p-14f;
  uint32_t result = exponent == 0 ? std::bit_cast<uint32_t>(denormal) : normal;
  result = exponent == kExponent ? infinite : result;
  return std::bit_cast<float>(result | sign);
}

uint16_t round_to_bf16(uint32_t bits) {
  const uint32_t quiet_nan = (bits >> 16) | 0x40;
  const uint32_t rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
  return static_cast<uint16_t>((bits & 0x7FFFFFFF) > 0x7F800000 ? quiet_nan : rounded);
}

uint16_t to_bf16(float value) { return round_to_bf16(std::bit_cast<uint32_t>(value)); }

// Rounds to float "to odd" first: towards zero, with the last bit set where anything was
// lost. A tie can then no longer be mistaken, and rounding again is exact (Boldo and
// Melquiond 2008, "Emulation of FMA and correctly rounded sums").
uint16_t to_bf16(double value) {
  const float nearest = static_cast<float>(value);
  const double back = nearest;
  uint32_t bits = std::bit_cast<uint32_t>(nearest);
  if (back != value) {
    const bool grew = value > 0 ? back > value : back < value;
    bits = (grew ? bits - 1 : bits) | 1;
  }
  return round_to_bf16(bits);
}

template <class From, class To, class Rule>
void each(const std::byte* source, std::byte* destination, int64_t count, Rule rule) {
  for (int64_t i = 0; i < count; ++i) {
    From value;
    std::memcpy(&value, source + i * static_cast<int64_t>(sizeof(From)), sizeof(From));
    const To result = rule(value);
    std::memcpy(destination + i * static_cast<int64_t>(sizeof(To)), &result, sizeof(To));
  }
}

void convert_to_f32(DType from, const std::byte* source, std::byte* destination,
                    int64_t count) {
  if (from == DType::kF16)
    each<uint16_t, float>(source, destination, count, from_f16);
  else if (from == DType::kBF16)
    each<uint16_t, float>(source, destination, count, from_bf16);
  else
    each<double, float>(source, destination, count,
                        [](double value) { return static_cast<float>(value); });
}

void convert_to_bf16(DType from, const std::byte* source, std::byte* destination,
                     int64_t count) {
  if (from == DType::kF16)
    each<uint16_t, uint16_t>(source, destination, count,
                             [](uint16_t bits) { return to_bf16(from_f16(bits)); });
  else if (from == DType::kF32)
    each<uint32_t, uint16_t>(source, destination, count, round_to_bf16);
  else
    each<double, uint16_t>(source, destination, count,
                           [](double value) { return to_bf16(value); });
}

}  // namespace

bool can_convert(DType from, DType to) {
  const bool floating = from == DType::kF16 || from == DType::kBF16 ||
                        from == DType::kF32 || from == DType::kF64;
  return floating && (to == DType::kF32 || to == DType::kBF16);
}

void convert(DType from, const std::byte* source, DType to, std::byte* destination,
             int64_t count) {
  if (!can_convert(from, to)) throw std::invalid_argument("convert: no such pair");
  if (count == 0) return;
  if (from == to)
    std::memcpy(destination, source, static_cast<size_t>(count * dtype_size(to)));
  else if (to == DType::kF32)
    convert_to_f32(from, source, destination, count);
  else
    convert_to_bf16(from, source, destination, count);
}

}  // namespace lowmem
