// Forward passes against transformers, through tests/fixtures/models.
#include "lowmem/model/llama.h"

#include "support/tensors.h"

namespace lowmem::model {
namespace {

using test::fixture, test::load_model, test::relative_difference;

struct Reference {
  std::vector<std::vector<int32_t>> sequences;
  nlohmann::json rows;

  explicit Reference(const std::filesystem::path& folder)
      : rows(read_json(folder / "reference.json").at("rows")) {
    for (const auto& row : rows)
      sequences.push_back(row.at("ids").get<std::vector<int32_t>>());
  }
};

// Compares the logits of packed sequences, at the positions the reference recorded.
void expect_reference_logits(const at::Tensor& logits, const Packed& packed,
                             const Reference& reference, double tolerance) {
  int64_t start = 0;
  for (size_t i = 0; i < reference.rows.size(); start += packed.spans[i++].keys) {
    const auto& row = reference.rows[i];
    for (size_t k = 0; k < row.at("positions").size(); ++k) {
      const int64_t token = start + row.at("positions")[k].get<int64_t>();
      EXPECT_LE(relative_difference(logits[token], test::tensor_of(row.at("logits")[k])),
                tolerance)
          << "sequence " << i << ", position " << row.at("positions")[k];
    }
  }
}

void expect_names_of_the_table(const std::filesystem::path& folder) {
  const Config config = read_model_config(folder);
  const Llama llama(config, {});
  std::map<std::string, std::vector<int64_t>> of_modules, of_table;
  for (const auto& item : llama.named_parameters())
    of_modules[item.key()] = item.value().sizes().vec();
  for (const weights::Spec& spec : weight_specs(config)) of_table[spec.name] = spec.shape;
  EXPECT_EQ(of_modules, of_table) << folder;
}

class LlamaReference : public testing::TestWithParam<const char*> {};

TEST_P(LlamaReference, LogitsEqualTransformersForSequencesLaidEndToEnd) {
  const auto folder = fixture(GetParam());
  const auto llama = load_model(folder);
  const Reference reference(folder);
  const Packed packed = test::pack(*llama, reference.sequences);
  expect_reference_logits(test::logits_of(*llama, packed), packed, reference, 1e-5);
}

TEST_P(LlamaReference, NegativeLogLikelihoodsEqualTransformers) {
  const auto folder = fixture(GetParam());
  const auto llama = load_model(folder);
  const Reference reference(folder);
  for (size_t i = 0; i < reference.rows.size(); ++i) {
    const auto& ids = reference.sequences[i];
    if (ids.size() < 2) continue;
    const at::Tensor logits = test::logits_of(*llama, test::pack(*llama, {ids}));
    const at::Tensor next =
        at::tensor(std::vector<int64_t>(ids.begin() + 1, ids.end()), at::kLong);
    const double nll = -logits.slice(0, 0, -1)
                            .to(at::kDouble)
                            .log_softmax(-1)
                            .gather(1, next.unsqueeze(1))
                            .sum()
                            .item<double>();
    const double want = reference.rows[i].at("nll").get<double>();
    EXPECT_NEAR(nll, want, 1e-5 * want);
  }
}

std::string last_name(const testing::TestParamInfo<const char*>& given) {
  return std::filesystem::path(given.param).filename();
}

INSTANTIATE_TEST_SUITE_P(Models, LlamaReference,
                         testing::Values("models/llama2_tiny", "models/llama32_tiny",
                                         "models/llama_bias_tiny",
                                         "models/llama2_tiny_f16",
                                         "models/llama2_tiny_sharded_bf16"),
                         last_name);

constexpr const char* kFamilies[] = {
    "families/llama_smollm2", "families/mistral_window", "families/mistral",
    "families/qwen2",         "families/qwen2_window",   "families/qwen3",
    "families/granite",       "families/smollm3",        "families/phi3"};

INSTANTIATE_TEST_SUITE_P(Families, LlamaReference, testing::ValuesIn(kFamilies),
                         last_name);

class Family : public testing::TestWithParam<const char*> {};

TEST_P(Family, IsOneModelInBothSpellingsOfConfigJson) {
  const auto folder = fixture(GetParam());
  EXPECT_EQ(read_model_config(folder), read_model_config(folder / "other"));
}

// Windows, scalars and norms are those of the plain formula too.
TEST_P(Family, HasTheSameLogitsByTheFormula) {
  const auto folder = fixture(GetParam());
  const auto llama =
      load_model(folder, {at::kFloat, at::kFloat, at::kCPU, AttentionMode::kMath});
  const Reference reference(folder);
  const Packed packed = test::pack(*llama, reference.sequences);
  expect_reference_logits(test::logits_of(*llama, packed), packed, reference, 1e-5);
}

TEST_P(Family, ParameterNamesAndShapesAreThoseOfTheWeightTable) {
  expect_names_of_the_table(fixture(GetParam()));
}

INSTANTIATE_TEST_SUITE_P(Families, Family, testing::ValuesIn(kFamilies), last_name);

TEST(Window, OfNoSequencesLengthIsNone) {
  Config config = read_model_config(fixture("families/mistral_window"));
  const std::vector<int32_t> ids = {5, 9, 200, 17, 3, 44, 60, 7};
  std::vector<at::Tensor> logits;
  for (const int64_t window : {8, 0, 7}) {
    config.sliding_window = window;
    const auto llama = std::make_unique<Llama>(config, ModelOptions{});
    weights::load(*test::home_of(*llama), fixture("families/mistral_window"));
    logits.push_back(test::logits_of(*llama, test::pack(*llama, {ids})));
  }
  EXPECT_TRUE(at::equal(logits[0], logits[1]));
  EXPECT_TRUE(at::equal(logits[0].slice(0, 0, 7), logits[2].slice(0, 0, 7)));
  EXPECT_GT(relative_difference(logits[2][7], logits[0][7]), 1e-3);
}

// A query that several endings continue sees as far back as each ending alone.
TEST(Window, OfABranchGoesByItsPositions) {
  const auto llama = load_model(fixture("families/mistral_window"));
  const std::vector<int32_t> trunk = {5, 9, 200, 17, 3, 44, 60, 7, 8, 150};
  const std::vector<int32_t> first = {11, 12, 13, 14}, second = {300, 21, 22};
  const Packed shared = llama->pack({{trunk, {first, second}}});
  const at::Tensor together = test::logits_of(*llama, shared);
  int64_t start = 10;
  for (const auto& branch : {first, second}) {
    std::vector<int32_t> alone = trunk;
    alone.insert(alone.end(), branch.begin(), branch.end());
    const auto count = static_cast<int64_t>(branch.size());
    EXPECT_LE(
        relative_difference(
            together.narrow(0, start, count),
            test::logits_of(*llama, test::pack(*llama, {alone})).narrow(0, 10, count)),
        1e-6);
    start += count;
  }
  // And where only some tokens of the last block are asked for.
  const test::Walked walked(*llama);
  const Rows rows = select_rows(shared, {2, 9, 12, 13, 15});
  const at::Tensor some = llama->norm(walked.walk.hidden_states(shared, &rows));
  const at::Tensor all = llama->norm(walked.walk.hidden_states(shared));
  EXPECT_LE(relative_difference(some, all.index_select(0, rows.index)), 1e-6);
}

TEST(Llama, ASequenceDoesNotSeeItsNeighbours) {
  const auto llama = load_model(fixture("models/llama32_tiny"));
  const std::vector<int32_t> a = {5, 9, 200, 17, 3}, b = {1, 2, 3}, c = {300, 4, 4, 4};
  const at::Tensor alone = test::logits_of(*llama, test::pack(*llama, {b}));
  const at::Tensor between =
      test::logits_of(*llama, test::pack(*llama, {a, b, c})).slice(0, 5, 8);
  EXPECT_LE(relative_difference(between, alone), 1e-6);
}

TEST(Llama, ParameterNamesAndShapesAreThoseOfTheWeightTable) {
  for (const char* name : {"llama2_tiny", "llama32_tiny", "llama_bias_tiny"})
    expect_names_of_the_table(fixture("models") / name);
}

TEST(Llama, BfloatWeightsStayCloseToTheReference) {
  const auto folder = fixture("models/llama32_tiny");
  const Reference reference(folder);
  for (const auto& options : {ModelOptions{at::kFloat, at::kBFloat16},
                              ModelOptions{at::kBFloat16, at::kBFloat16},
                              ModelOptions{at::kBFloat16, at::kFloat}}) {
    const auto llama = load_model(folder, options);
    const Packed packed = test::pack(*llama, reference.sequences);
    expect_reference_logits(test::logits_of(*llama, packed), packed, reference, 0.05);
  }
}

TEST(LlamaData, LogitsAndLossEqualARealModelsReference) {
  LOWMEM_NEEDS_SHARED("models/tinystories-656k");
  const auto folder = test::shared("models/tinystories-656k");
  const auto reference = read_json(folder / "reference.json");
  const auto llama = load_model(folder);
  const auto ids = reference.at("ids").get<std::vector<int32_t>>();
  const at::Tensor logits = test::logits_of(*llama, test::pack(*llama, {ids}));
  const at::Tensor first = test::tensor_of(reference.at("logits_pos0_first8"));
  EXPECT_LE((logits[0].slice(0, 0, 8).to(at::kDouble) - first).abs().max().item<double>(),
            1e-5 * logits[0].abs().max().item<double>());
  const at::Tensor next =
      at::tensor(std::vector<int64_t>(ids.begin() + 1, ids.end()), at::kLong);
  const at::Tensor nll = -logits.slice(0, 0, -1)
                              .to(at::kDouble)
                              .log_softmax(-1)
                              .gather(1, next.unsqueeze(1))
                              .squeeze(1);
  EXPECT_LE(relative_difference(nll, test::tensor_of(reference.at("nll_of_next_token"))),
            1e-5);
}

}  // namespace
}  // namespace lowmem::model
