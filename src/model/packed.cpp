#include "lowmem/model/packed.h"

#include <ATen/ATen.h>

#include <cmath>
#include <numbers>

namespace lowmem::model {

RotaryAngles::RotaryAngles(const LlamaConfig& config) {
  // Llama 3.1's rule: wavelengths beyond the original context (over its low factor) are
  // divided by the factor, those well inside it kept, and a ramp joins the two.
  const double original =
      static_cast<double>(config.rope_original_max_position_embeddings);
  const double low = config.rope_low_freq_factor, high = config.rope_high_freq_factor;
  for (int64_t i = 0; i < config.head_dim / 2; ++i) {
    // In fp32, as the reference does it: its angles carry that rounding.
    const float exponent =
        static_cast<float>(2 * i) / static_cast<float>(config.head_dim);
    float inverse = 1.0f / std::pow(static_cast<float>(config.rope_theta), exponent);
    if (config.rope_scaling == RopeScaling::kLinear) {
      inverse /= static_cast<float>(config.rope_factor);
    } else if (config.rope_scaling == RopeScaling::kLlama3) {
      const double wavelength = 2 * std::numbers::pi / inverse;
      const double smooth = (original / wavelength - low) / (high - low);
      if (wavelength > original / low) {
        inverse /= static_cast<float>(config.rope_factor);
      } else if (wavelength >= original / high) {
        inverse = static_cast<float>((1 - smooth) * inverse / config.rope_factor +
                                     smooth * inverse);
      }
    }
    inverse_.push_back(inverse);
  }
}

Packed RotaryAngles::pack(std::span<const std::span<const int32_t>> sequences,
                          c10::Device device) const {
  Packed packed;
  packed.offsets.push_back(0);
  for (const auto& sequence : sequences)
    packed.offsets.push_back(packed.offsets.back() +
                             static_cast<int64_t>(sequence.size()));

  const int64_t tokens = packed.tokens();
  packed.ids = at::empty({tokens}, at::kLong);
  at::Tensor positions = at::empty({tokens, 1}, at::kFloat);
  int64_t* id = packed.ids.mutable_data_ptr<int64_t>();
  float* position = positions.mutable_data_ptr<float>();
  for (const auto& sequence : sequences)
    for (size_t i = 0; i < sequence.size(); ++i) {
      *id++ = sequence[i];
      *position++ = static_cast<float>(i);
    }
  packed.ids = packed.ids.to(device);
  const at::Tensor inverse =
      at::tensor(at::ArrayRef<float>(inverse_)).unsqueeze(0).to(device);
  const at::Tensor angles = positions.to(device) * inverse;
  packed.cos = angles.cos();
  packed.sin = angles.sin();
  return packed;
}

}  // namespace lowmem::model
