// Item by item against lm-evaluation-harness 0.4.11, through tests/fixtures/hellaswag.
#include "lowmem/eval/hellaswag.h"

#include <gmock/gmock.h>

#include "support/tensors.h"

namespace lowmem::eval {
namespace {

using nlohmann::json;

struct Problem {
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<model::Llama> model;
  std::vector<HellaSwagRow> rows;

  Problem(const std::filesystem::path& folder, const std::filesystem::path& data,
          int64_t limit)
      : tokenizer(open_tokenizer(folder)),
        model(test::load_model(folder)),
        rows(read_hellaswag(data, limit)) {}

  HellaSwagResult run(bool bos, int64_t batch_size,
                      const loss::LossOptions& options = {}) const {
    const HellaSwag evaluation(rows, *tokenizer, bos, batch_size,
                               model->config().max_position_embeddings);
    return evaluation.run(test::Walked(*model), options, HellaSwag::kTokensAtOnce);
  }
};

void expect_harness_items(const HellaSwagResult& result, const json& expected,
                          const char* key, double tolerance) {
  ASSERT_EQ(result.rows.size(), expected.at("rows").size());
  for (size_t i = 0; i < result.rows.size(); ++i) {
    const json& row = expected.at("rows")[i];
    const json& want = row.at(key);
    const RowScore& got = result.rows[i];
    EXPECT_EQ(got.label, row.at("label").get<int>()) << "row " << i;
    for (size_t k = 0; k < 4; ++k)
      EXPECT_NEAR(got.log_likelihoods[k], want.at("log_likelihoods")[k].get<double>(),
                  tolerance)
          << "row " << i << ", ending " << k;
    EXPECT_EQ(got.acc, want.at("acc").get<double>() == 1.0) << "row " << i;
    EXPECT_EQ(got.acc_norm, want.at("acc_norm").get<double>() == 1.0) << "row " << i;
  }
}

Problem tiny() {
  const auto folder = test::fixture("hellaswag/tiny");
  return {folder, folder / "rows.jsonl", 0};
}

TEST(HellaSwag, ItemsEqualTheHarnessWithAndWithoutBos) {
  const Problem problem = tiny();
  const json expected = read_json(test::fixture("hellaswag/tiny/expected.json"));
  expect_harness_items(problem.run(true, 5), expected, "with_bos", 1e-3);
  expect_harness_items(problem.run(false, 24), expected, "without_bos", 1e-3);
}

TEST(HellaSwag, ScoresDoNotDependOnTheBatchOrTheSliceOfTheVocabulary) {
  const Problem problem = tiny();
  const HellaSwagResult one = problem.run(true, 1);
  loss::LossOptions small;
  small.chunk_bytes = 1000;
  const HellaSwagResult all = problem.run(true, 100, small);
  for (size_t i = 0; i < one.rows.size(); ++i)
    for (size_t k = 0; k < 4; ++k)
      EXPECT_NEAR(one.rows[i].log_likelihoods[k], all.rows[i].log_likelihoods[k], 1e-4);
}

TEST(HellaSwag, AccuracyIsTheMeanOverTheRows) {
  const Problem problem = tiny();
  const HellaSwagResult result = problem.run(true, 7);
  double acc = 0, acc_norm = 0;
  for (const RowScore& row : result.rows) {
    acc += row.acc;
    acc_norm += row.acc_norm;
  }
  EXPECT_EQ(result.accuracy.count, 24);
  EXPECT_DOUBLE_EQ(result.accuracy.acc, acc / 24);
  EXPECT_DOUBLE_EQ(result.accuracy.acc_norm, acc_norm / 24);
}

TEST(HellaSwag, ScoresAreTheSameWhetherTheQueryRunsOnceOrFourTimes) {
  const Problem problem = tiny();
  const auto run = [&](bool share) {
    return HellaSwag(problem.rows, *problem.tokenizer, true, 8, 512, share)
        .run(test::Walked(*problem.model), {}, 300);
  };
  const HellaSwagResult once = run(true), four_times = run(false);
  for (size_t i = 0; i < once.rows.size(); ++i)
    for (size_t k = 0; k < 4; ++k)
      EXPECT_NEAR(once.rows[i].log_likelihoods[k], four_times.rows[i].log_likelihoods[k],
                  1e-4)
          << "row " << i << ", ending " << k;
  EXPECT_EQ(once.accuracy.acc, four_times.accuracy.acc);
  const HellaSwag shared(problem.rows, *problem.tokenizer, true, 8, 512);
  const HellaSwag separate(problem.rows, *problem.tokenizer, true, 8, 512, false);
  EXPECT_LT(shared.tokens(), separate.tokens() / 2);
}

// As some SentencePiece models do: no token for space at the end of a text.
struct Trimming final : Tokenizer {
  explicit Trimming(const Tokenizer& inner) : inner_(inner) {
    bos_id_ = inner.bos_id();
    eos_id_ = inner.eos_id();
  }
  std::string decode(const std::vector<int32_t>& ids) const override {
    return inner_.decode(ids);
  }
  int64_t vocab_size() const override { return inner_.vocab_size(); }
  std::optional<int32_t> id_of(std::string_view token) const override {
    return inner_.id_of(token);
  }
  std::string piece(int32_t id) const override { return inner_.piece(id); }

 private:
  std::vector<int32_t> ids_of(std::string_view text, bool starts_text,
                              bool special) const override {
    return special ? inner_.encode(text.substr(0, text.find_last_not_of(' ') + 1))
                   : inner_.encode_plain(text, starts_text);
  }
  const Tokenizer& inner_;
};

TEST(HellaSwag, AnEndingWithoutTokensIsCertainAndDisturbsNoOther) {
  const Problem problem = tiny();
  std::vector<HellaSwagRow> blank(problem.rows.begin(), problem.rows.begin() + 3);
  blank[0].endings[1] = "";
  blank[1].endings = {"", "", "", ""};
  const Trimming tokenizer(*problem.tokenizer);
  for (const bool share : {true, false}) {
    const auto run = [&](const std::vector<HellaSwagRow>& rows) {
      const HellaSwag evaluation(rows, tokenizer, true, 8, 512, share);
      EXPECT_GT(evaluation.tokens(), 0);
      return evaluation.run(test::Walked(*problem.model), {}, 2048).rows;
    };
    const auto whole = run({problem.rows.begin(), problem.rows.begin() + 3});
    const auto with_blanks = run(blank);
    EXPECT_EQ(with_blanks[0].log_likelihoods[1], 0);
    for (size_t k = 0; k < 4; ++k) {
      EXPECT_EQ(with_blanks[1].log_likelihoods[k], 0);
      EXPECT_NEAR(with_blanks[2].log_likelihoods[k], whole[2].log_likelihoods[k], 1e-4);
      if (k != 1) {
        EXPECT_NEAR(with_blanks[0].log_likelihoods[k], whole[0].log_likelihoods[k], 1e-4);
      }
    }
  }
}

TEST(HellaSwag, ALongQueryLosesItsBeginning) {
  const Problem problem = tiny();
  const HellaSwag whole(problem.rows, *problem.tokenizer, true, 8, 512);
  const HellaSwag cut(problem.rows, *problem.tokenizer, true, 8, 12);
  EXPECT_LT(cut.tokens(), whole.tokens());
  EXPECT_LE(cut.tokens(), 12 * 4 * 24);
  EXPECT_EQ(cut.run(test::Walked(*problem.model), {}, 50).accuracy.count, 24);
}

TEST(HellaSwagData, ItemsOfARealModelEqualTheHarnessWithAndWithoutBos) {
  LOWMEM_NEEDS_SHARED("models/tinystories-656k");
  LOWMEM_NEEDS_SHARED("data/hellaswag/val_1000.jsonl");
  const Problem problem(test::shared("models/tinystories-656k"),
                        test::shared("data/hellaswag/val_1000.jsonl"), 200);
  const json expected = read_json(test::fixture("hellaswag/tinystories_656k.json"));
  expect_harness_items(problem.run(true, 32), expected, "with_bos", 1e-3);
  expect_harness_items(problem.run(false, 32), expected, "without_bos", 1e-3);
}

}  // namespace
}  // namespace lowmem::eval
