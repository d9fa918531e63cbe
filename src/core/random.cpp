#include "lowmem/core/random.h"

namespace lowmem {

std::array<uint32_t, 4> philox(uint64_t key, uint64_t counter_low,
                               uint64_t counter_high) {
  constexpr uint32_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
  constexpr uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
  std::array<uint32_t, 4> x = {
      static_cast<uint32_t>(counter_low), static_cast<uint32_t>(counter_low >> 32),
      static_cast<uint32_t>(counter_high), static_cast<uint32_t>(counter_high >> 32)};
  uint32_t key0 = static_cast<uint32_t>(key), key1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = static_cast<uint64_t>(kMultiplier0) * x[0];
    const uint64_t product1 = static_cast<uint64_t>(kMultiplier1) * x[2];
    x = {static_cast<uint32_t>(product1 >> 32) ^ x[1] ^ key0,
         static_cast<uint32_t>(product1),
         static_cast<uint32_t>(product0 >> 32) ^ x[3] ^ key1,
         static_cast<uint32_t>(product0)};
    key0 += kWeyl0;
    key1 += kWeyl1;
  }
  return x;
}

uint32_t Random::next() {
  if (left_ == 0) {
    block_ = philox(seed_, counter_++, stream_);
    left_ = 4;
  }
  return block_[4 - left_--];
}

uint32_t Random::below(uint32_t bound) {
  uint64_t product = static_cast<uint64_t>(next()) * bound;
  if (static_cast<uint32_t>(product) < bound) {
    const uint32_t threshold = (0u - bound) % bound;
    while (static_cast<uint32_t>(product) < threshold)
      product = static_cast<uint64_t>(next()) * bound;
  }
  return static_cast<uint32_t>(product >> 32);
}

float Random::uniform() { return static_cast<float>(next() >> 8) * 0x1p-24f; }

}  // namespace lowmem
