// Training with averages of 8 bits against bitsandbytes' rule in PyTorch
// (scripts/references/adam8bit.py): losses of 40 steps of real models, and the weights
// that they end with.
#include "support/training.h"

namespace lowmem::engine {
namespace {

using nlohmann::json;
using test::fixture, test::Policies, test::Trainer;

class Adam8bitData : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    LOWMEM_NEEDS_SHARED("models");
    reference =
        read_json(fixture(std::string("training/adam8bit_") + GetParam() + ".json"));
    batches = read_json(fixture("training/adam8bit_batches.json"));
  }

  Trainer trainer(const Policies& policies = {}) const {
    return {test::load_model(test::shared(std::string("models/") + GetParam())),
            {"all"},
            test::optimizer_config(reference),
            policies};
  }
  std::vector<double> losses_of(Trainer& trainer, size_t micro_batch) const {
    std::vector<double> losses;
    for (size_t step = 0; step < batches.size(); ++step) {
      const auto parts = test::micro_batches(*trainer.llama, batches[step], micro_batch);
      const StepResult result = trainer.update(parts, static_cast<int64_t>(step));
      losses.push_back(result.loss_sum / static_cast<double>(result.labelled));
    }
    return losses;
  }

  json reference, batches;
};

TEST_P(Adam8bitData, HasTheReferencesLossesAndWeights) {
  Trainer trainer = this->trainer();
  const std::vector<double> losses = losses_of(trainer, 4);
  const std::vector<double> want = reference["loss"];
  ASSERT_EQ(losses.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i)
    EXPECT_NEAR(losses[i], want[i], 1e-4 * want[i]) << "step " << i;

  // Averages in fp32, and codes without the guard, would be 0.3 and 0.6 lr away.
  const double lr = reference["optimizer"]["lr"];
  const int64_t every = reference["every"];
  double distance = 0;
  int64_t count = 0;
  const test::State weights = test::copy_of(trainer);
  for (const auto& [name, found] : reference["parameters"].items()) {
    const at::Tensor sampled = test::tensor_of(found["sampled"]);
    const at::Tensor ours =
        weights.at(name).flatten().slice(0, 0, std::nullopt, every).to(at::kDouble);
    ASSERT_EQ(ours.numel(), sampled.numel()) << name;
    distance += (ours - sampled).abs().sum().item<double>();
    count += sampled.numel();
  }
  EXPECT_GT(count, 500);
  EXPECT_LE(distance / static_cast<double>(count), 0.02 * lr);
}

TEST_P(Adam8bitData, KeepsCodesOfAllButSmallWeights) {
  Trainer trainer = this->trainer();
  for (const weights::Weight& weight : trainer.home->table().all())
    EXPECT_EQ(weight.beside.at("exp_avg").scalar_type(),
              weight.spec.elements() < reference["smallest"].get<int64_t>() ? at::kFloat
                                                                            : at::kByte)
        << weight.name();
}

INSTANTIATE_TEST_SUITE_P(Models, Adam8bitData,
                         testing::Values("stories260k", "tinystories-656k"),
                         [](const auto& given) {
                           std::string name = given.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace lowmem::engine
