// Weight files: written and read again, refused, and made at random.
#include "lowmem/weights/hf_folder.h"

#include <gmock/gmock.h>

#include <set>

#include "io/error_of.h"
#include "io/temp_folder.h"
#include "lowmem/io/weights_folder.h"
#include "lowmem/model/random_model.h"
#include "lowmem/weights/selection.h"
#include "support/tensors.h"

namespace lowmem::weights {
namespace {

using model::Llama, model::weight_specs;
using test::fixture, test::load_model, test::TempFolder;
using test::home_of;
using testing::HasSubstr;
using State = std::map<std::string, at::Tensor>;

State state_of(const Llama& llama) {
  State state;
  for (const auto& item : llama.named_parameters()) state[item.key()] = item.value();
  return state;
}

void expect_same(const Llama& a, const Llama& b) {
  const State left = state_of(a), right = state_of(b);
  ASSERT_EQ(left.size(), right.size());
  for (const auto& [name, tensor] : left)
    EXPECT_TRUE(at::equal(tensor, right.at(name))) << name;
}

std::vector<std::string> names_in(const std::filesystem::path& folder) {
  const WeightsFolder weights(folder);
  std::vector<std::string> names;
  for (const auto& location : weights.tensors()) names.push_back(location.tensor->name);
  return names;
}

// Writes tensors, fp32, bf16 or int64, beside a copy of `config`.
void write_folder(const std::filesystem::path& folder,
                  const std::filesystem::path& config, const State& state) {
  std::filesystem::copy_file(config / "config.json", folder / "config.json",
                             std::filesystem::copy_options::overwrite_existing);
  std::vector<TensorSpec> specs;
  for (const auto& [name, tensor] : state)
    specs.push_back({name,
                     tensor.scalar_type() == at::kFloat  ? DType::kF32
                     : tensor.scalar_type() == at::kLong ? DType::kI64
                                                         : DType::kBF16,
                     tensor.sizes().vec()});
  WeightsWriter writer(folder, specs);
  for (const auto& [name, tensor] : state) {
    const at::Tensor whole = tensor.detach().contiguous();
    writer.write(name,
                 {static_cast<const std::byte*>(whole.const_data_ptr()), whole.nbytes()});
  }
  writer.finish();
}

// Phi-3's files have q, k and v as one tensor, and gate and up.
TEST(JoinedTensors, AreSplitOnLoadAndJoinedOnSave) {
  const auto source = fixture("families/phi3");
  const auto llama = load_model(source, {at::kBFloat16, at::kBFloat16});
  const TempFolder folder;
  save(*home_of(*llama), source, folder / "out");
  const WeightsFolder before(source), after(folder / "out");
  EXPECT_EQ(after.tensors().size(), before.tensors().size());
  for (const auto& location : before.tensors()) {
    const auto again = after.find(location.tensor->name);
    ASSERT_TRUE(again) << location.tensor->name;
    EXPECT_EQ(again.tensor->shape, location.tensor->shape);
    std::vector<std::byte> left(static_cast<size_t>(location.tensor->bytes())),
        right(left.size());
    location.file->read(*location.tensor, 0, left);
    again.file->read(*again.tensor, 0, right);
    EXPECT_EQ(left, right) << location.tensor->name;
  }
  EXPECT_NE(after.find("model.layers.0.self_attn.qkv_proj.weight").tensor, nullptr);
  expect_same(*load_model(folder / "out", {at::kBFloat16, at::kBFloat16}), *llama);
}

TEST(JoinedTensors, ThatAreMissingOrOfAnotherShapeAreNamedAsFilesHaveThem) {
  const auto llama = load_model(fixture("families/phi3"));
  State state;
  for (const Spec& spec : weight_specs(llama->config()))
    if (spec.joined_first == 0) state[spec.file_name()] = at::zeros(spec.file_shape());
  const std::string name = "model.layers.1.mlp.gate_up_proj.weight";
  for (const bool missing : {true, false}) {
    const TempFolder folder;
    State other = state;
    if (missing)
      other.erase(name);
    else
      other[name] = at::zeros({81, 48});
    write_folder(folder.path(), fixture("families/phi3"), other);
    const Error error = test::error_of(
        [&] { check_folder(weight_specs(llama->config()), folder.path()); });
    EXPECT_THAT(error.thing(), HasSubstr(name));
  }
}

TEST(JoinedTensors, AreSelectedByEitherName) {
  const auto llama = load_model(fixture("families/phi3"));
  const auto trained = [&](const char* pattern) {
    select(llama->table(), {pattern});
    std::set<std::string> names;
    for (const Weight& weight : llama->table().all())
      if (weight.trained) names.insert(weight.name());
    return names;
  };
  EXPECT_EQ(trained("model.layers.0.*qkv_proj*"),
            (std::set<std::string>{"model.layers.0.self_attn.q_proj.weight",
                                   "model.layers.0.self_attn.k_proj.weight",
                                   "model.layers.0.self_attn.v_proj.weight"}));
  EXPECT_EQ(trained("model.layers.0.*up_proj*").size(), 2u);  // gate_up_proj, and up_proj
  EXPECT_EQ(trained("*.1.*k_proj*"),
            (std::set<std::string>{"model.layers.1.self_attn.k_proj.weight"}));
}

class Saved
    : public testing::TestWithParam<std::tuple<const char*, at::ScalarType, int64_t>> {};

TEST_P(Saved, ModelsComeBackBitByBit) {
  const auto& [name, dtype, shard_bytes] = GetParam();
  const auto source = fixture("models") / name;
  const auto llama = load_model(source, {dtype, dtype});
  const TempFolder folder;
  save(*home_of(*llama), source, folder / "out", {.max_shard_bytes = shard_bytes});
  expect_same(*load_model(folder / "out", {dtype, dtype}), *llama);

  std::vector<std::string> want;
  for (const Spec& spec : weight_specs(llama->config())) want.push_back(spec.name);
  EXPECT_EQ(names_in(folder / "out"), want);
  const WeightsFolder weights(folder / "out");
  for (const auto& location : weights.tensors())
    EXPECT_EQ(location.tensor->dtype, dtype == at::kFloat ? DType::kF32 : DType::kBF16);
  EXPECT_EQ(std::filesystem::exists(folder / "out" / "model.safetensors.index.json"),
            shard_bytes < 100000);

  const auto config = read_json(folder / "out" / "config.json");
  EXPECT_EQ(config.at(config.contains("dtype") ? "dtype" : "torch_dtype"),
            dtype == at::kFloat ? "float32" : "bfloat16");
  EXPECT_EQ(config.at("hidden_size"), llama->config().hidden_size);
}

INSTANTIATE_TEST_SUITE_P(HfWeights, Saved,
                         testing::Combine(testing::Values("llama2_tiny", "llama32_tiny",
                                                          "llama_bias_tiny"),
                                          testing::Values(at::kFloat, at::kBFloat16),
                                          testing::Values<int64_t>(kMaxShardBytes, 9000)),
                         [](const auto& given) {
                           return std::string(std::get<0>(given.param)) +
                                  at::toString(std::get<1>(given.param)) +
                                  (std::get<2>(given.param) < 100000 ? "Sharded" : "");
                         });

TEST(SaveModel, WritesATiedHeadOnceUnderTheEmbeddingsName) {
  const auto source = fixture("models/llama32_tiny");
  const TempFolder folder;
  const auto llama = load_model(source);
  save(*home_of(*llama), source, folder / "out");
  const auto names = names_in(folder / "out");
  EXPECT_THAT(names, testing::Contains("model.embed_tokens.weight"));
  EXPECT_THAT(names, testing::Not(testing::Contains("lm_head.weight")));
}

TEST(SaveModel, CarriesTheTokenizerOver) {
  const auto source = fixture("hellaswag/tiny");
  const TempFolder folder;
  const auto llama = load_model(source);
  save(*home_of(*llama), source, folder / "out");
  for (const char* name : {"tokenizer.json", "tokenizer_config.json"})
    EXPECT_EQ(test::read_text(folder / "out" / name), test::read_text(source / name));
  EXPECT_FALSE(std::filesystem::exists(folder / "out" / "rows.jsonl"));
}

class LoadWeights : public testing::Test {
 protected:
  void write() { write_folder(folder.path(), source, state); }
  Error error() {
    write();
    return test::error_of([&] { load_model(folder.path()); });
  }

  const std::filesystem::path source = fixture("models/llama2_tiny");
  const std::unique_ptr<Llama> llama = load_model(source);
  State state = state_of(*llama);
  const TempFolder folder;
  const std::string name = "model.layers.1.mlp.up_proj.weight";
};

TEST_F(LoadWeights, NamesAMissingTensor) {
  state.erase(name);
  const Error missing = error();
  EXPECT_THAT(missing.thing(), HasSubstr("tensor " + name));
  EXPECT_THAT(missing.problem(), HasSubstr("not in the weight files"));
}

TEST_F(LoadWeights, NamesASurplusTensor) {
  state["model.layers.1.mlp.up_proj.bias"] = at::zeros({88});
  EXPECT_THAT(error().thing(), HasSubstr("tensor model.layers.1.mlp.up_proj.bias"));
}

TEST_F(LoadWeights, NamesALayerTooMany) {
  state["model.layers.2.mlp.up_proj.weight"] = at::zeros({88, 32});
  EXPECT_THAT(error().thing(), HasSubstr("tensor model.layers.2.mlp.up_proj.weight"));
}

TEST_F(LoadWeights, NamesATensorOfAnotherShapeAndBothShapes) {
  state[name] = state.at(name).t();
  const Error shape = error();
  EXPECT_THAT(shape.thing(), HasSubstr("tensor " + name));
  EXPECT_THAT(shape.problem(), HasSubstr("[32, 88]"));
  EXPECT_THAT(shape.problem(), HasSubstr("[88, 32]"));
  state[name] = at::zeros({88 * 32});
  EXPECT_THAT(error().problem(), HasSubstr("[2816]"));
}

TEST_F(LoadWeights, NamesATensorOfWholeNumbers) {
  state[name] = at::zeros({88, 32}, at::kLong);
  EXPECT_THAT(error().thing(), HasSubstr(name));
}

TEST_F(LoadWeights, AnUntiedModelNeedsItsHead) {
  state.erase("lm_head.weight");
  EXPECT_THAT(error().thing(), HasSubstr("tensor lm_head.weight"));
}

TEST_F(LoadWeights, LeavesOldBuffersOut) {
  state["model.layers.0.self_attn.rotary_emb.inv_freq"] = at::ones({4});
  write();
  expect_same(*load_model(folder.path()), *llama);
}

TEST_F(LoadWeights, ConvertsEachTensorFromTheTypeItHas) {
  const at::Tensor rounded = state.at(name).to(at::kBFloat16);
  state[name] = rounded;
  write();
  const auto loaded = load_model(folder.path());
  const State got = state_of(*loaded);
  EXPECT_TRUE(at::equal(got.at(name), rounded.to(at::kFloat)));
  EXPECT_TRUE(at::equal(got.at("lm_head.weight"), state.at("lm_head.weight")));
}

class LoadTiedWeights : public LoadWeights {
 protected:
  LoadTiedWeights() { state = state_of(*tied); }
  const std::filesystem::path tied_source = fixture("models/llama32_tiny");
  const std::unique_ptr<Llama> tied = load_model(tied_source);
};

TEST_F(LoadTiedWeights, TakeTheEmbeddingsFromTheHeadWhereItAloneIsThere) {
  state["lm_head.weight"] = state.at("model.embed_tokens.weight");
  state.erase("model.embed_tokens.weight");
  write_folder(folder.path(), tied_source, state);
  expect_same(*load_model(folder.path()), *tied);
}

TEST_F(LoadTiedWeights, LeaveASecondCopyOut) {
  state["lm_head.weight"] = state.at("model.embed_tokens.weight");
  write_folder(folder.path(), tied_source, state);
  expect_same(*load_model(folder.path()), *tied);
}

TEST_F(LoadTiedWeights, NeedOneOfTheTwo) {
  state.erase("model.embed_tokens.weight");
  write_folder(folder.path(), tied_source, state);
  EXPECT_THAT(test::error_of([&] { load_model(folder.path()); }).thing(),
              HasSubstr("tensor model.embed_tokens.weight"));
}

class RandomModel : public testing::Test {
 protected:
  // A model whose table is longer than one slice of the writer.
  void SetUp() override {
    config = read_json(fixture("models/llama_bias_tiny/config.json"));
    config["vocab_size"] = 70001;
    config["initializer_range"] = 0.05;
  }
  std::filesystem::path make(const std::string& name, uint64_t seed,
                             DType dtype = DType::kF32,
                             int64_t shard_bytes = kMaxShardBytes) {
    test::write_text(folder / "config.json", config.dump());
    model::write_random_model(folder / "config.json", folder / name, dtype, seed,
                              shard_bytes);
    return folder / name;
  }

  nlohmann::json config;
  const TempFolder folder;
};

TEST_F(RandomModel, IsAFunctionOfTheSeed) {
  const auto bytes = [](const std::filesystem::path& at) {
    return test::read_text(at / "model.safetensors");
  };
  const std::string first = bytes(make("a", 7));
  EXPECT_TRUE(bytes(make("b", 7)) == first);
  EXPECT_FALSE(bytes(make("c", 8)) == first);
}

TEST_F(RandomModel, HasNormalMatricesNormsOfOneAndBiasesOfZero) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const auto llama = load_model(make("a", 3, dtype));
    const State state = state_of(*llama);
    for (const Spec& spec : weight_specs(llama->config())) {
      const at::Tensor weight = state.at(spec.name).to(at::kDouble);
      if (spec.kind != Kind::kMatrix) {
        const double want = spec.kind == Kind::kNorm ? 1 : 0;
        EXPECT_TRUE(weight.eq(want).all().item<bool>()) << spec.name;
        continue;
      }
      const double count = static_cast<double>(weight.numel());
      EXPECT_NEAR(weight.mean().item<double>(), 0, 5 * 0.05 / std::sqrt(count))
          << spec.name;
      EXPECT_NEAR(weight.std().item<double>(), 0.05, 5 * 0.05 / std::sqrt(2 * count))
          << spec.name;
      // The fourth moment of a normal distribution is 3.
      EXPECT_NEAR((weight / 0.05).pow(4).mean().item<double>(), 3,
                  5 * std::sqrt(96 / count))
          << spec.name;
    }
  }
}

TEST_F(RandomModel, RepeatsNoNumbersAcrossSlicesOrWeights) {
  const auto llama = load_model(make("a", 3));
  const at::Tensor table = llama->embedding().view(-1), head = llama->head().view(-1);
  const int64_t slice = 1 << 20, rest = table.numel() - slice;
  ASSERT_GT(rest, 1000);
  const auto equal = [](const at::Tensor& a, const at::Tensor& b) {
    return a.eq(b).to(at::kDouble).mean().item<double>();
  };
  EXPECT_LE(equal(table.slice(0, 0, rest), table.slice(0, slice)), 1e-3);
  EXPECT_LE(equal(table, head), 1e-3);
}

TEST_F(RandomModel, ShardsHoldTheSameWeights) {
  const auto whole = make("whole", 3),
             sharded = make("sharded", 3, DType::kF32, 2'000'000);
  EXPECT_TRUE(std::filesystem::exists(sharded / "model.safetensors.index.json"));
  EXPECT_FALSE(std::filesystem::exists(sharded / "model.safetensors"));
  expect_same(*load_model(sharded), *load_model(whole));
}

TEST_F(RandomModel, TheWeightsOfBfloatAreThoseOfFloatRounded) {
  const auto exact = load_model(make("a", 3)),
             rounded = load_model(make("b", 3, DType::kBF16));
  EXPECT_TRUE(at::equal(exact->head().to(at::kBFloat16).to(at::kFloat), rounded->head()));
}

TEST_F(RandomModel, MayHaveMatricesOfFewerNumbersThanTheMachineHasCores) {
  for (const char* key :
       {"hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads"})
    config[key] = 1;
  config["vocab_size"] = 3;
  config["head_dim"] = 2;
  const auto llama = load_model(make("a", 3));
  EXPECT_GT(llama->embedding().abs().min().item<float>(), 0);
}

}  // namespace
}  // namespace lowmem::weights
