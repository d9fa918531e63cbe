// The last bits of a score depend on the tokens that are evaluated together: on the model
// and the rows, and on nothing that says where a run keeps what.
#include <fstream>
#include <nlohmann/json.hpp>

#include "lowmem/core/files.h"
#include "lowmem/train/session.h"
#include "support/training.h"
#include "train/demo_folder.h"

namespace lowmem::train {
namespace {

struct Found {
  int64_t tokens = 0;   // that an evaluation may take at once
  int64_t batches = 0;  // that it takes
  std::vector<std::array<double, 4>> scores;
};

class EvaluatedTogether : public DemoFolder {
 protected:
  // The embedding's gradient is as large as what evaluation holds of several rows, a
  // block's is less than one row's, and so is a training batch.
  static RunConfig wide() {
    const auto model = folder() / "wide";
    std::filesystem::copy(folder() / "model", model,
                          std::filesystem::copy_options::recursive);
    nlohmann::json shape = read_json(model / "config.json");
    shape["vocab_size"] = 4096;
    write_file_atomically(model / "config.json", shape.dump());
    model::write_random_model(model / "config.json", model, DType::kF32, 7);
    std::ofstream(folder() / "short.jsonl") << R"({"text": "the man"})"
                                            << "\n";
    RunConfig config = DemoFolder::config(OptimizerKind::kAdam, 3e-3);
    config.model.path = model;
    config.data.train = {folder() / "short.jsonl"};
    config.run.dir = folder() / "runs";
    config.eval.limit = 8;
    return config;
  }

  static Found evaluated(const RunConfig& config, const Inputs& inputs) {
    const Session session(config, inputs);
    Found found{.tokens = session.evaluation_tokens(), .scores = {}};
    const EvaluationResult result = session.evaluate([&] { ++found.batches; });
    for (const eval::RowScore& row : result.hellaswag->rows)
      found.scores.push_back(row.log_likelihoods);
    return found;
  }
};

TEST_F(EvaluatedTogether, AreTheSameTokensUnderEveryPolicyAndInEveryHome) {
  RunConfig config = wide();
  const Inputs inputs = read_inputs(config);
  for (const char* trained : {"all", "layers"}) {
    config.model.train = {trained};
    config.memory = {};
    const Found usual = evaluated(config, inputs);
    EXPECT_EQ(usual.batches, config.eval.limit);
    int64_t settings = 0;
    for (const test::Policies& policies : test::every_policy()) {
      if (policies.home.weights == WeightsMode::kHost) continue;  // of a GPU
      config.memory.activations = policies.activations;
      config.memory.gradients = policies.gradients;
      config.memory.kept = policies.kept;
      config.memory.weights = policies.home.weights;
      config.memory.states = policies.home.states;
      config.memory.ahead = ++settings % 3;
      config.memory.resident_blocks = settings % 2;
      const Found found = evaluated(config, inputs);
      EXPECT_EQ(found.tokens, usual.tokens) << trained << ", setting " << settings;
      EXPECT_EQ(found.batches, usual.batches) << trained << ", setting " << settings;
      EXPECT_EQ(found.scores, usual.scores) << trained << ", setting " << settings;
    }
    EXPECT_GE(settings, 40);
  }
}

}  // namespace
}  // namespace lowmem::train
