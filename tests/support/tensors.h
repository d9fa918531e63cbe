#pragma once

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "lowmem/core/files.h"
#include "lowmem/engine/walk.h"
#include "lowmem/weights/hf_folder.h"
#include "support/shared.h"

namespace lowmem::test {

// Largest |a - b| over the largest |b|.
inline double relative_difference(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor want = b.to(at::kDouble), got = a.to(at::kDouble);
  return ((got - want).abs().max() / want.abs().max()).item<double>();
}

// Numbers of the standard normal distribution, the same for the same seed.
inline at::Tensor normal(at::IntArrayRef shape, uint64_t seed,
                         at::ScalarType dtype = at::kFloat) {
  return at::randn(shape, at::make_generator<at::CPUGeneratorImpl>(seed), at::kDouble)
      .to(dtype);
}

// A home that keeps a model's weights where they are.
inline std::unique_ptr<weights::Home> home_of(const model::Llama& llama) {
  return weights::make_home({.device = llama.device()}, llama.table());
}

// A way over a model that is wholly there.
struct Walked {
  explicit Walked(const model::Llama& llama) : home(home_of(llama)), walk(llama, *home) {}
  operator const engine::Walk&() const { return walk; }

  std::unique_ptr<weights::Home> home;
  engine::Walk walk;
};

inline at::Tensor logits_of(const model::Llama& llama, const model::Packed& packed) {
  return Walked(llama).walk.logits(packed);
}

// A model folder, loaded.
inline std::unique_ptr<model::Llama> load_model(const std::filesystem::path& folder,
                                                model::ModelOptions options = {}) {
  auto llama = std::make_unique<model::Llama>(model::read_model_config(folder), options);
  weights::load(*home_of(*llama), folder);
  return llama;
}

inline model::Packed pack(const model::Llama& llama,
                          const std::vector<std::vector<int32_t>>& sequences,
                          int64_t multiple = 0) {
  std::vector<model::Sequence> views;
  for (const auto& sequence : sequences) views.push_back({sequence, {}});
  return llama.pack(views, multiple);
}

// A list of numbers, or of such lists, in float64.
inline at::Tensor tensor_of(const nlohmann::json& numbers) {
  if (numbers.at(0).is_array()) {
    std::vector<at::Tensor> rows;
    for (const auto& row : numbers) rows.push_back(tensor_of(row));
    return at::stack(rows);
  }
  return at::tensor(numbers.get<std::vector<double>>(), at::kDouble);
}

}  // namespace lowmem::test
