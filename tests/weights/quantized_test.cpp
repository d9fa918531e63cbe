// Matrices that lie in codes: what folders are loaded as.
#include "lowmem/weights/quantized.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lowmem/core/error.h"
#include "lowmem/model/config.h"
#include "lowmem/weights/hf_folder.h"
#include "support/tensors.h"

namespace lowmem::weights {
namespace {

using test::fixture;

RunConfig quantized(QuantizeMode mode, bool nested = true) {
  RunConfig config;
  config.model.quantize = mode;
  config.model.double_quantization = nested;
  config.model.train = {"model.norm.weight"};
  return config;
}

std::unique_ptr<Table> loaded(const RunConfig& config, DType format = DType::kF32) {
  const auto folder = fixture("models/llama32_tiny");
  auto table = std::make_unique<Table>(
      with_quantized(model::weight_specs(model::read_model_config(folder)), config),
      format);
  const auto home = make_home({}, *table);
  load(*home, folder);
  return table;
}

TEST(Quantized, Int8IsTheRuleOfTheRows) {
  const auto plain = loaded({}), codes = loaded(quantized(QuantizeMode::kInt8));
  for (const Weight& weight : codes->all()) {
    if (weight.spec.stored == Stored::kPlain || weight.spec.part > 0) continue;
    SCOPED_TRACE(weight.name());
    const std::string module = module_of(weight.name());
    const at::Tensor half = plain->at(weight.name()).here.to(at::kHalf).to(at::kFloat);
    const at::Tensor scales = half.abs().amax(1);
    EXPECT_TRUE(at::equal(codes->at(module + ".SCB").here, scales));
    const at::Tensor rounded = (half * (scales.reciprocal() * 127).unsqueeze(1)).round();
    EXPECT_TRUE(at::equal(weight.here.to(at::kFloat), rounded));
    const ops::StoredMatrix matrix = matrix_of(*codes, module);
    EXPECT_TRUE(at::equal(matrix.rows(0, matrix.out, at::kFloat),
                          rounded * (scales * (1 / 127.0f)).unsqueeze(1)));
  }
}

TEST(Quantized, EveryMatrixOfABlockThatIsNotTrainedAndNoOther) {
  RunConfig config = quantized(QuantizeMode::kNf4);
  config.model.train = {"*.q_proj.weight"};
  const auto table = loaded(config);
  for (const Weight& weight : table->all()) {
    const bool block = weight.name().starts_with("model.layers.");
    const bool matrix = weight.spec.kind == Kind::kMatrix;
    const bool frozen = weight.name().find("q_proj") == std::string::npos;
    EXPECT_EQ(weight.spec.stored != Stored::kPlain, block && matrix && frozen)
        << weight.name();
  }
  // As folders have them.
  const auto specs = model_specs(*table);
  const auto folder = fixture("models/llama32_tiny");
  const auto plain = model::weight_specs(model::read_model_config(folder));
  ASSERT_EQ(specs.size(), plain.size());
  for (size_t i = 0; i < specs.size(); ++i) {
    EXPECT_EQ(specs[i].name, plain[i].name);
    EXPECT_EQ(specs[i].shape, plain[i].shape);
  }
}

TEST(Quantized, NothingToQuantizeIsRefused) {
  RunConfig config = quantized(QuantizeMode::kNf4);
  config.model.train = {"layers"};
  try {
    loaded(config);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("model.quantize = nf4"));
  }
}

// Bytes a weight: 4.5 with fp32 scales, 4.127 with theirs in 8 bits, 8 and a scale a row.
TEST(Quantized, TakesTheBytesOfItsForm) {
  const auto bytes = [](const Table& table) {
    int64_t sum = 0;
    for (const Weight& weight : table.all())
      if (weight.spec.stored != Stored::kPlain) sum += weight.bytes();
    return sum;
  };
  int64_t elements = 0, rows = 0, blocks = 0, nested = 0, matrices = 0;
  const auto plain = loaded({});
  for (const Weight& weight : plain->all()) {
    if (weight.spec.kind != Kind::kMatrix || !weight.name().starts_with("model.layers."))
      continue;
    elements += weight.spec.elements();
    rows += weight.spec.shape[0];
    blocks += weight.spec.elements() / 64;
    nested += (weight.spec.elements() / 64 + 255) / 256;
    ++matrices;
  }
  EXPECT_EQ(bytes(*loaded(quantized(QuantizeMode::kInt8))), elements + 4 * rows);
  EXPECT_EQ(bytes(*loaded(quantized(QuantizeMode::kNf4, false))),
            elements / 2 + 4 * blocks);
  EXPECT_EQ(bytes(*loaded(quantized(QuantizeMode::kNf4))),
            elements / 2 + blocks + 4 * (nested + matrices));
}

}  // namespace
}  // namespace lowmem::weights
