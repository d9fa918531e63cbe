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

// A folder with its tensors changed: bytes by name.
using Bytes = std::map<std::string, std::pair<TensorSpec, std::string>>;

struct Damage {
  const char* name;
  const char* form;
  std::function<void(Bytes&)> change;
  const char* said;
};

const std::string kMatrix = "model.layers.1.mlp.up_proj.weight";

void change_state(Bytes& tensors, const char* key, const json& value) {
  auto& [spec, text] = tensors[kMatrix + ".quant_state.bitsandbytes__nf4"];
  json state = json::parse(text);
  if (value.is_null())
    state.erase(key);
  else
    state[key] = value;
  text = state.dump();
  spec.shape = {static_cast<int64_t>(text.size())};
}

class DamagedCodes : public testing::TestWithParam<Damage> {};

TEST_P(DamagedCodes, AreRefusedByName) {
  const fs::path source = fixture("quantized") / GetParam().form;
  Bytes tensors;
  const SafetensorsFile file(source / "model.safetensors");
  for (const TensorInfo& tensor : file.tensors()) {
    std::string text(static_cast<size_t>(tensor.bytes()), '\0');
    file.read(tensor, 0, std::as_writable_bytes(std::span(text)));
    tensors[tensor.name] = {tensor, text};
  }
  GetParam().change(tensors);
  const test::TempFolder folder;
  fs::copy_file(source / "config.json", folder / "config.json");
  std::vector<TensorSpec> specs;
  for (const auto& [name, tensor] : tensors) specs.push_back(tensor.first);
  {
    SafetensorsWriter writer(folder / "model.safetensors", specs);
    for (const auto& [name, tensor] : tensors)
      writer.write(name, std::as_bytes(std::span(tensor.second)));
    writer.finish();
  }
  const Stored form = stored_in(source);
  const Error error = test::error_of([&] { loaded(folder.path(), form); });
  EXPECT_THAT(error.thing() + ": " + error.problem(), HasSubstr(GetParam().said));
  EXPECT_FALSE(error.remedy().empty());
}

template <class T>
void put(Bytes& tensors, const std::string& name, size_t at, T value) {
  std::memcpy(tensors.at(name).second.data() + at * sizeof value, &value, sizeof value);
}

INSTANTIATE_TEST_SUITE_P(
    Weights, DamagedCodes,
    testing::Values(
        Damage{"OtherLevels", "nf4",
               [](Bytes& b) { put(b, kMatrix + ".quant_map", 3, 0.5f); },
               ".quant_map: holds other levels"},
        Damage{"OtherNestedLevels", "nf4_double",
               [](Bytes& b) { put(b, kMatrix + ".nested_quant_map", 200, 0.5f); },
               ".nested_quant_map: holds other levels"},
        Damage{"ScaleIsNoNumber", "nf4",
               [](Bytes& b) { put(b, kMatrix + ".absmax", 2, NAN); },
               ".absmax: holds scales that are not finite"},
        Damage{"RowScaleIsInfinite", "int8",
               [](Bytes& b) { put(b, "model.layers.1.mlp.up_proj.SCB", 2, INFINITY); },
               "SCB: holds scales that are not finite"},
        Damage{"OtherOrder", "int8",
               [](Bytes& b) {
                 put(b, "model.layers.1.mlp.up_proj.weight_format", 0, uint8_t{1});
               },
               "an order other than rows"},
        Damage{"NoScales", "nf4", [](Bytes& b) { b.erase(kMatrix + ".absmax"); },
               ".absmax: is not in the weight files"},
        Damage{"NoState", "nf4",
               [](Bytes& b) { b.erase(kMatrix + ".quant_state.bitsandbytes__nf4"); },
               "is not in the weight files"},
        Damage{"ScalesOfAnotherType", "nf4_double",
               [](Bytes& b) {
                 auto& [spec, text] = b[kMatrix + ".absmax"];
                 spec.dtype = DType::kF32;
                 text.resize(4 * text.size());
               },
               ".absmax: is not the U8 tensor"},
        Damage{"FewerCodes", "nf4",
               [](Bytes& b) {
                 auto& [spec, text] = b[kMatrix];
                 spec.shape = {spec.shape[0] - 1, 1};
                 text.pop_back();
               },
               "up_proj.weight: is not the U8 tensor of the size"},
        Damage{"NumbersAmongCodes", "nf4",
               [](Bytes& b) {
                 auto& [spec, text] = b[kMatrix];
                 spec = {kMatrix, DType::kF32, {88, 32}};
                 text.resize(4 * 88 * 32);
               },
               "up_proj.weight: is not the U8 tensor"},
        Damage{"StateIsNoJson", "nf4",
               [](Bytes& b) {
                 b[kMatrix + ".quant_state.bitsandbytes__nf4"].second[0] = '[';
               },
               "is not a JSON object"},
        Damage{"Fp4", "nf4", [](Bytes& b) { change_state(b, "quant_type", "fp4"); },
               "quant_type = \"fp4\""},
        Damage{"OtherBlocks", "nf4", [](Bytes& b) { change_state(b, "blocksize", 128); },
               "blocksize = 128"},
        Damage{"OtherShape", "nf4",
               [](Bytes& b) {
                 change_state(b, "shape", {32, 88});
               },
               "shape = [32,88]"},
        Damage{"NoShape", "nf4", [](Bytes& b) { change_state(b, "shape", nullptr); },
               "shape = nothing"},
        Damage{"OffsetIsText", "nf4_double",
               [](Bytes& b) { change_state(b, "nested_offset", "0.1"); },
               "has no nested_offset that is a number"},
        Damage{"OffsetIsHuge", "nf4_double",
               [](Bytes& b) { change_state(b, "nested_offset", 1e300); },
               "has no nested_offset that is a number"},
        Damage{"NestedAfterAll", "nf4",
               [](Bytes& b) { change_state(b, "nested_blocksize", 256); },
               "scales are nested, and config.json that they are not"},
        Damage{"AnotherTensor", "nf4",
               [](Bytes& b) {
                 b["model.extra.weight"] = {{"model.extra.weight", DType::kF32, {1}},
                                            "1234"};
               },
               "model.extra.weight"}),
    [](const auto& given) { return std::string(given.param.name); });

INSTANTIATE_TEST_SUITE_P(Weights, QuantizedFolder,
                         testing::Values(Form{"nf4", Stored::kNf4},
                                         Form{"nf4_double", Stored::kNf4Double},
                                         Form{"int8", Stored::kInt8}),
                         [](const auto& given) { return std::string(given.param.name); });

}  // namespace
}  // namespace lowmem::weights
