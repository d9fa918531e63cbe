// Against transformers, through tests/fixtures/training/perplexity.json.
#include "lowmem/eval/perplexity.h"

#include <gmock/gmock.h>

#include <cmath>

#include "support/tensors.h"

namespace lowmem::eval {
namespace {

using nlohmann::json;

constexpr int64_t kAtOnce = 2048;

// The labelled sequences of the first three batches, as the reference takes them.
std::vector<Example> sequences() {
  std::vector<Example> examples;
  const json batches = read_json(test::fixture("training/batches.json"));
  for (size_t batch = 0; batch < 3; ++batch)
    for (const json& sequence : batches[batch]) {
      Example example{sequence["ids"].get<std::vector<int32_t>>(),
                      sequence["labels"].get<std::vector<int32_t>>()};
      if (example.labelled() > 0) examples.push_back(std::move(example));
    }
  return examples;
}

TEST(Perplexity, EqualsThatOfTransformers) {
  for (const json& expected : read_json(test::fixture("training/perplexity.json"))) {
    const auto model =
        test::load_model(test::fixture("models/" + expected["model"].get<std::string>()));
    const Likelihood found =
        Perplexity(sequences(), 8).run(test::Walked(*model), {}, kAtOnce);
    EXPECT_EQ(found.tokens, expected["tokens"].get<int64_t>());
    EXPECT_NEAR(found.loss, expected["loss"].get<double>(), 1e-5);
    EXPECT_NEAR(found.perplexity() / expected["perplexity"].get<double>(), 1, 1e-5);
    EXPECT_DOUBLE_EQ(found.perplexity(), std::exp(found.loss));
  }
}

TEST(Perplexity, DoesNotDependOnTheBatchOrTheSliceOfTheVocabulary) {
  const auto model = test::load_model(test::fixture("models/llama2_tiny"));
  const Perplexity one_by_one(sequences(), 1), together(sequences(), 100);
  const double loss = one_by_one.run(test::Walked(*model), {}, kAtOnce).loss;
  loss::LossOptions small;
  small.chunk_bytes = 1000;
  EXPECT_NEAR(together.run(test::Walked(*model), {}, 100'000).loss, loss, 1e-6);
  EXPECT_NEAR(together.run(test::Walked(*model), small, 50).loss, loss, 1e-6);
}

TEST(Perplexity, IsTheSameToTheBitInASecondRun) {
  const auto model = test::load_model(test::fixture("models/llama32_tiny"));
  const Perplexity perplexity(sequences(), 4);
  EXPECT_EQ(perplexity.run(test::Walked(*model), {}, kAtOnce).loss,
            perplexity.run(test::Walked(*model), {}, kAtOnce).loss);
}

TEST(Perplexity, TakesAsManyBatchesAsTheTokensAtOnceAsk) {
  const auto model = test::load_model(test::fixture("models/llama2_tiny"));
  const auto examples = sequences();
  int64_t batches = 0;
  const auto count = [&] { ++batches; };
  Perplexity(examples, 4).run(test::Walked(*model), {}, kAtOnce, count);
  EXPECT_EQ(batches, (static_cast<int64_t>(examples.size()) + 3) / 4);
  batches = 0;
  Perplexity(examples, 4).run(test::Walked(*model), {}, 1, count);
  EXPECT_EQ(batches, static_cast<int64_t>(examples.size()));
}

TEST(Perplexity, CountsTheTokensThatItReads) {
  int64_t tokens = 0;
  for (const Example& example : sequences())
    tokens += static_cast<int64_t>(example.ids.size());
  EXPECT_EQ(Perplexity(sequences(), 4).tokens(), tokens);
}

TEST(Perplexity, EndsWhereTheCallerThrows) {
  const auto model = test::load_model(test::fixture("models/llama2_tiny"));
  struct Enough {};
  EXPECT_THROW(Perplexity(sequences(), 1)
                   .run(test::Walked(*model), {}, kAtOnce, [] { throw Enough(); }),
               Enough);
}

}  // namespace
}  // namespace lowmem::eval
