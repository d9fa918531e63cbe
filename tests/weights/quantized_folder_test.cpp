// Folders that transformers has saved in 4 and 8 bits, through tests/fixtures/quantized.
#include "lowmem/weights/quantized_folder.h"

#include <gmock/gmock.h>

#include "io/error_of.h"
#include "io/temp_folder.h"
#include "lowmem/core/error.h"
#include "lowmem/weights/quantized.h"
#include "support/tensors.h"

namespace lowmem::weights {
namespace {

using nlohmann::json;
using test::fixture;
using testing::HasSubstr;
namespace fs = std::filesystem;

struct Form {
  const char* name;
  Stored stored;
};

RunConfig settings_for(Stored form) {
  RunConfig config;
  config.model.train = {};
  set_form(config.model, form);
  return config;
}

std::unique_ptr<model::Llama> loaded(const fs::path& folder, Stored form) {
  const model::Config shape = model::read_model_config(folder);
  auto table = std::make_shared<Table>(
      with_quantized(model::weight_specs(shape), settings_for(form)), DType::kF32);
  table->allocate(c10::kCPU);
  auto llama = std::make_unique<model::Llama>(
      shape, model::ModelOptions{at::kFloat, at::kFloat}, table);
  load(*test::home_of(*llama), folder);
  return llama;
}

class QuantizedFolder : public testing::TestWithParam<Form> {
 protected:
  fs::path folder() const { return fixture("quantized") / GetParam().name; }
};

TEST_P(QuantizedFolder, HasTheLogitsThatItsNumbersHaveInTransformers) {
  EXPECT_EQ(stored_in(folder()), GetParam().stored);
  const json reference = read_json(folder() / "reference.json");
  const auto llama = loaded(folder(), GetParam().stored);
  const auto packed = test::pack(*llama, {reference["ids"].get<std::vector<int32_t>>()});
  const at::Tensor logits = test::logits_of(*llama, packed).to(at::kDouble);
  EXPECT_NEAR(logits.norm().item<double>(), reference["norm"].get<double>(),
              1e-5 * reference["norm"].get<double>());
  EXPECT_LT(test::relative_difference(logits[-1].slice(0, 0, std::nullopt, 8),
                                      test::tensor_of(reference["last"])),
            1e-5);
}

// To the byte, but for what says how they were computed with.
TEST_P(QuantizedFolder, IsWrittenAsTransformersWroteIt) {
  const auto llama = loaded(folder(), GetParam().stored);
  const test::TempFolder into;
  save_codes(*test::home_of(*llama), folder(), into / "model");
  const WeightsFolder before(folder()), after(into / "model");
  ASSERT_EQ(after.tensors().size(), before.tensors().size());
  for (const auto& location : before.tensors()) {
    const auto found = after.find(location.tensor->name);
    ASSERT_TRUE(found) << location.tensor->name;
    EXPECT_EQ(found.tensor->dtype, location.tensor->dtype) << location.tensor->name;
    const auto bytes = [](const WeightsFolder::Location& at) {
      std::string text(static_cast<size_t>(at.tensor->bytes()), '\0');
      at.file->read(*at.tensor, 0, std::as_writable_bytes(std::span(text)));
      return text;
    };
    if (location.tensor->name.find(".quant_state.") != std::string::npos) {
      EXPECT_EQ(json::parse(bytes(found)), json::parse(bytes(location)));
      continue;
    }
    EXPECT_EQ(found.tensor->shape, location.tensor->shape) << location.tensor->name;
    EXPECT_EQ(bytes(found), bytes(location)) << location.tensor->name;
  }
  const auto section = [](const fs::path& of) {
    return read_json(of / "config.json")["quantization_config"];
  };
  json wrote = section(folder());
  if (GetParam().stored == Stored::kInt8) wrote["bnb_4bit_quant_type"] = "nf4";
  EXPECT_EQ(section(into / "model"), wrote);
  EXPECT_EQ(stored_in(into / "model"), GetParam().stored);
  // And as numbers it is a folder of numbers.
  save(*test::home_of(*llama), folder(), into / "numbers");
  EXPECT_EQ(stored_in(into / "numbers"), Stored::kPlain);
  const auto numbers = test::load_model(into / "numbers");
  const auto packed = test::pack(*llama, {{1, 2, 3, 4, 5, 6, 7}});
  EXPECT_LT(test::relative_difference(test::logits_of(*numbers, packed),
                                      test::logits_of(*llama, packed)),
            1e-6);
}

TEST_P(QuantizedFolder, IsReadInItsOwnFormAlone) {
  for (const Stored form :
       {Stored::kPlain, Stored::kNf4, Stored::kNf4Double, Stored::kInt8}) {
    if (form == GetParam().stored) continue;
    const Error error = test::error_of([&] { loaded(folder(), form); });
    EXPECT_THAT(error.remedy(), HasSubstr(settings_of(GetParam().stored)));
  }
  RunConfig config = settings_for(GetParam().stored);
  config.model.train = {"*.q_proj.weight"};
  const Error error = test::error_of([&] {
    check_folder(
        with_quantized(model::weight_specs(model::read_model_config(folder())), config),
        folder());
  });
  EXPECT_THAT(error.problem(), HasSubstr("q_proj.weight is to be trained"));
}

INSTANTIATE_TEST_SUITE_P(Weights, QuantizedFolder,
                         testing::Values(Form{"nf4", Stored::kNf4},
                                         Form{"nf4_double", Stored::kNf4Double},
                                         Form{"int8", Stored::kInt8}),
                         [](const auto& given) { return std::string(given.param.name); });

}  // namespace
}  // namespace lowmem::weights
