// More than one iteration of LoftQ: codes and pair against a plain computation, in every
// form of scales and wherever the weights live. PEFT's curve is among those of
// adapter_test.cpp.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

#include "engine/adapter_models.h"
#include "lowmem/kernels/nf4.h"
#include "lowmem/weights/hf_folder.h"

namespace lowmem::engine {
namespace {

using test::adapted, test::fixture;

constexpr const char* kModel = "llama32_tiny";
constexpr const char* kModules[] = {
    "model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.k_proj",
    "model.layers.1.mlp.up_proj", "model.layers.1.mlp.down_proj"};

AdapterConfig loftq(int64_t iterations) {
  AdapterConfig adapter;
  adapter.kind = AdapterKind::kLora;
  adapter.rank = 4;
  adapter.alpha = 10;  // a scale that is not 1
  adapter.targets = {"all-linear"};
  adapter.init = AdapterInit::kLoftq;
  adapter.loftq_iterations = iterations;
  return adapter;
}

ModelConfig nf4(bool nested) {
  ModelConfig model;
  model.quantize = QuantizeMode::kNf4;
  model.double_quantization = nested;
  return model;
}

std::unique_ptr<model::Llama> started(const AdapterConfig& adapter, bool nested) {
  auto llama = adapted(kModel, adapter, at::kFloat, nf4(nested));
  weights::start_adapter(*test::home_of(*llama), adapter, 1, fixture("models") / kModel);
  return llama;
}

at::Tensor whole_of(const std::string& module) {
  weights::Spec spec;
  for (const auto& each :
       model::weight_specs(model::read_model_config(fixture("models") / kModel)))
    if (each.name == module + ".weight") spec = each;
  return weights::numbers_in(fixture("models") / kModel, spec, DType::kF32);
}

at::Tensor numbers_of(const model::Llama& llama, const std::string& module) {
  const ops::StoredMatrix matrix = weights::matrix_of(llama.table(), module);
  return matrix.rows(0, matrix.out, at::kFloat);
}

at::Tensor product_of(const model::Llama& llama, const AdapterConfig& adapter,
                      const std::string& module) {
  const auto number = [&](const char* end) {
    return llama.table().find(module + end)->here.detach().to(at::kDouble);
  };
  return number(".lora_B.weight")
      .matmul(number(".lora_A.weight"))
      .mul(adapter.alpha / static_cast<double>(adapter.rank));
}

double error_of(const model::Llama& llama, const AdapterConfig& adapter,
                const std::string& module) {
  return (whole_of(module).to(at::kDouble) - numbers_of(llama, module) -
          product_of(llama, adapter, module))
      .norm()
      .item<double>();
}

// Each block of 64 by its largest magnitude, each number to the nearest level.
at::Tensor rounded_to_nf4(const at::Tensor& matrix) {
  const at::Tensor rounded = matrix.to(at::kFloat).contiguous().clone();
  auto* const numbers = rounded.mutable_data_ptr<float>();
  const int64_t count = rounded.numel();
  for (int64_t first = 0; first < count; first += 64) {
    const int64_t end = std::min(count, first + 64);
    float scale = 0;
    for (int64_t i = first; i < end; ++i) scale = std::max(scale, std::abs(numbers[i]));
    for (int64_t i = first; i < end; ++i) {
      float best = kernels::kNf4Levels[0];
      for (const float level : kernels::kNf4Levels)
        if (std::abs(numbers[i] - level * scale) < std::abs(numbers[i] - best * scale))
          best = level;
      numbers[i] = best * scale;
    }
  }
  return rounded;
}

// The paper's loop: codes of W less the product, and the product of what they lose.
std::pair<at::Tensor, at::Tensor> plain_loop(const at::Tensor& whole, int64_t rank,
                                             int64_t iterations) {
  at::Tensor codes, product = at::zeros_like(whole).to(at::kDouble);
  for (int64_t i = 0; i < iterations; ++i) {
    codes = rounded_to_nf4(whole - product);
    const auto [u, s, v] = at::linalg_svd(whole.to(at::kDouble) - codes, false);
    product = u.narrow(1, 0, rank).mul(s.narrow(0, 0, rank)).matmul(v.narrow(0, 0, rank));
  }
  return {codes, product};
}

TEST(Loftq, IsThePlainLoopAtEveryNumberOfIterations) {
  for (const int64_t iterations : {1, 2, 5}) {
    const AdapterConfig adapter = loftq(iterations);
    const auto llama = started(adapter, /*nested=*/false);
    for (const char* module : kModules) {
      SCOPED_TRACE(module + (" after " + std::to_string(iterations)));
      const auto [codes, product] = plain_loop(whole_of(module), 4, iterations);
      EXPECT_LT(test::relative_difference(numbers_of(*llama, module), codes), 1e-6);
      EXPECT_LT(test::relative_difference(product_of(*llama, adapter, module), product),
                1e-5);
    }
  }
}

TEST(Loftq, LosesLessWithEachIteration) {
  for (const bool nested : {false, true})
    for (const char* module : kModules) {
      double before = HUGE_VAL;
      for (const int64_t iterations : {1, 2, 3, 5}) {
        const AdapterConfig adapter = loftq(iterations);
        const double error = error_of(*started(adapter, nested), adapter, module);
        EXPECT_LT(error, before) << module << " after " << iterations;
        before = error;
      }
    }
}

TEST(Loftq, IsAsFarFromTheModelAsPefts) {
  const auto curve = read_json(fixture("adapters/loftq_iterations.json"));
  ASSERT_EQ(curve.at("model"), kModel);
  AdapterConfig adapter = loftq(curve.at("iterations"));
  adapter.rank = curve.at("rank");
  adapter.alpha = curve.at("alpha");
  const auto llama = started(adapter, /*nested=*/false);
  for (const auto& [name, error] : curve.at("errors").items())
    EXPECT_NEAR(error_of(*llama, adapter, name.substr(0, name.rfind('.'))),
                error.get<double>(), 1e-5 * error.get<double>())
        << name;
}

// Every weight's bytes.
std::map<std::string, std::string> bytes_in(weights::Home& home) {
  std::map<std::string, std::string> bytes;
  for (size_t group = 0; group < home.table().groups(); ++group) {
    const auto lease = home.borrow(group, weights::Access::kRead);
    for (const weights::Weight* weight : home.table().group(group))
      home.read(*weight, [&](std::span<const std::byte> piece) {
        bytes[weight->name()].append(reinterpret_cast<const char*>(piece.data()),
                                     piece.size());
      });
  }
  return bytes;
}

TEST(Loftq, HasTheSameBitsWhereverTheWeightsLive) {
  const AdapterConfig adapter = loftq(3);
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    std::map<std::string, std::string> first;
    for (const test::Policies& policies :
         {test::Policies{}, test::Policies{.wanders = true},
          test::Policies{.home = {.weights = WeightsMode::kDisk, .ahead = 0}},
          test::Policies{.home = {.weights = WeightsMode::kDisk, .ahead = 1}}}) {
      const auto llama = adapted(kModel, adapter, dtype, nf4(/*nested=*/true));
      const auto home = test::home_of(*llama, policies);
      weights::start_adapter(*home, adapter, 1, fixture("models") / kModel);
      const auto bytes = bytes_in(*home);
      if (first.empty()) first = bytes;
      EXPECT_EQ(bytes, first);
    }
  }
}

}  // namespace
}  // namespace lowmem::engine
