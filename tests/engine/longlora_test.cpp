// Attention in groups, half of them shifted: curves of transformers with a mask for each
// head, and the same bits for every policy.
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "support/training.h"

namespace lowmem::engine {
namespace {

using nlohmann::json;
using test::fixture;

const json& batches() {
  static const json all = read_json(fixture("training/batches.json"));
  return all;
}
const json& curves() {
  static const json all = read_json(fixture("training/longlora.json"));
  return all;
}

// As train/collate makes them.
std::vector<MicroBatch> grouped(const model::Llama& llama, const json& batch, size_t size,
                                int64_t group) {
  std::vector<MicroBatch> parts;
  for (size_t at = 0; at < batch.size(); at += size) {
    std::vector<std::vector<int32_t>> ids;
    std::vector<int64_t> labelled, labels;
    int64_t token = 0;
    for (size_t k = at; k < std::min(batch.size(), at + size); ++k) {
      ids.push_back(batch[k].at("ids").get<std::vector<int32_t>>());
      for (const int64_t label : batch[k].at("labels").get<std::vector<int64_t>>()) {
        if (label >= 0) {
          labelled.push_back(token);
          labels.push_back(label);
        }
        ++token;
      }
    }
    MicroBatch part;
    part.packed = test::pack(llama, ids);
    model::attend_in_groups(part.packed, group);
    part.rows = model::select_rows(part.packed, labelled);
    part.labels = at::tensor(labels, at::kLong);
    parts.push_back(std::move(part));
  }
  return parts;
}

// A curve's losses, and the weights at its end.
struct Trained {
  std::vector<double> losses;
  test::State weights;
};
Trained trained(const json& curve, const test::Policies& policies, size_t micro_batch,
                at::ScalarType type = at::kFloat) {
  test::Trainer trainer(
      test::load_model(fixture("models") / curve.at("model").get<std::string>(),
                       {type, type}),
      {curve.at("train").get<std::string>()}, test::optimizer_config(curve), policies);
  Trained found;
  for (size_t i = 0; i < curve.at("loss").size(); ++i) {
    const StepResult result =
        trainer.update(grouped(*trainer.llama, batches()[i], micro_batch,
                               curve.at("group").get<int64_t>()),
                       static_cast<int64_t>(i));
    found.losses.push_back(result.loss_sum / static_cast<double>(result.labelled));
  }
  found.weights = test::copy_of(trainer);
  return found;
}

TEST(LongLora, FollowsTheReferencesCurves) {
  for (const json& curve : curves())
    for (const size_t micro_batch : {size_t{8}, size_t{3}}) {
      const Trained found = trained(curve, {}, micro_batch);
      for (size_t i = 0; i < found.losses.size(); ++i) {
        const double want = curve.at("loss")[i].get<double>();
        EXPECT_NEAR(found.losses[i], want, 2e-5 * want) << "step " << i;
      }
      for (const auto& [name, want] : curve.at("parameters").items())
        EXPECT_NEAR(found.weights.at(name).to(at::kDouble).norm().item<double>(),
                    want.at("norm").get<double>(), 1e-5 * want.at("norm").get<double>())
            << name;
    }
}

TEST(LongLora, HasTheSameBitsForEveryPolicy) {
  json curve = curves()[0];
  curve["loss"] = json::array({1, 2, 3});
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    const Trained want = trained(curve, {}, 3, type);
    for (const test::Policies& policies : test::a_third_of_every_policy()) {
      if (policies.home.weights == WeightsMode::kHost) continue;  // as the disk
      const Trained found = trained(curve, policies, 3, type);
      EXPECT_EQ(found.losses, want.losses);
      for (const auto& [name, weight] : want.weights)
        EXPECT_TRUE(at::equal(found.weights.at(name), weight)) << name;
    }
  }
}

// A group that no sequence is longer than, with nothing of it shifted away, is full
// attention.
TEST(LongLora, OfOneGroupIsFullAttention) {
  json curve = curves()[0];
  curve["loss"] = json::array({1, 2});
  curve["group"] = 200;
  const Trained grouped_run = trained(curve, {}, 8);
  test::Trainer trainer(
      test::load_model(fixture("models") / curve.at("model").get<std::string>()),
      {curve.at("train").get<std::string>()}, test::optimizer_config(curve), {});
  for (size_t i = 0; i < 2; ++i) {
    const StepResult result = trainer.update(
        test::micro_batches(*trainer.llama, batches()[i], 8), static_cast<int64_t>(i));
    EXPECT_NEAR(grouped_run.losses[i],
                result.loss_sum / static_cast<double>(result.labelled), 1e-6);
  }
}

// Beyond 512 tokens LibTorch's attention computes.
TEST(LongLora, OfLongRowsEqualsTheFormula) {
  constexpr int64_t kTokens = 1500, kHeads = 4, kKeyHeads = 2, kSize = 16;
  for (const int64_t group : {400, 1200}) {
    at::manual_seed(3);
    const auto random = [](int64_t heads) {
      return at::randn({kTokens, heads, kSize}).requires_grad_();
    };
    const at::Tensor q = random(kHeads), k = random(kKeyHeads), v = random(kKeyHeads);
    const at::Tensor weight = at::randn({24, kHeads * kSize});
    const auto llama = test::load_model(fixture("models/llama32_tiny"));
    model::Packed packed =
        test::pack(*llama, {std::vector<int32_t>(1000, 5), std::vector<int32_t>(500, 6)});
    model::attend_in_groups(packed, group);
    const auto run = [&](AttentionMode mode) {
      const at::AutoGradMode with_graph(true);
      ops::LinearWeight by;
      by.matrix.numbers = weight;
      const at::Tensor out =
          ops::attention_linear(ops::Heads(q), ops::Heads(k), v, packed.groups, by, mode);
      const auto gradients = torch::autograd::grad({out.square().sum()}, {q, k, v});
      return std::vector<at::Tensor>{out, gradients[0], gradients[1], gradients[2]};
    };
    const auto want = run(AttentionMode::kMath), got = run(AttentionMode::kAuto);
    for (size_t i = 0; i < want.size(); ++i)
      EXPECT_LT((want[i] - got[i]).abs().max().item<double>(),
                1e-4 * want[i].abs().max().item<double>())
          << group << ", " << i;
  }
}

}  // namespace
}  // namespace lowmem::engine
