#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "lowmem/core/files.h"
#include "lowmem/model/hf_weights.h"
#include "support/shared.h"

namespace lowmem::test {

// Largest |a - b| over the largest |b|.
inline double relative_difference(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor want = b.to(at::kDouble), got = a.to(at::kDouble);
  return ((got - want).abs().max() / want.abs().max()).item<double>();
}

// A model folder, loaded.
inline std::unique_ptr<model::Llama> load_model(const std::filesystem::path& folder,
                                                model::ModelOptions options = {}) {
  auto llama =
      std::make_unique<model::Llama>(model::read_llama_config(folder), options);
  model::load_weights(*llama, folder);
  return llama;
}

inline model::Packed pack(const model::Llama& llama,
                          const std::vector<std::vector<int32_t>>& sequences) {
  std::vector<std::span<const int32_t>> views(sequences.begin(), sequences.end());
  return llama.pack(views);
}

inline at::Tensor tensor_of(const nlohmann::json& numbers) {
  return at::tensor(numbers.get<std::vector<double>>(), at::kDouble);
}

}  // namespace lowmem::test
