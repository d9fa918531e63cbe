// Adapters, over codes as well, on the device: the CPU's curves, and the same bits for
// every policy.
#include "device/device.h"
#include "engine/adapter_models.h"

namespace lowmem::engine {
namespace {

using test::Policies, test::State;

struct Variant {
  const char* name;
  AdapterKind kind;
  QuantizeMode quantize;
  bool nested;
  double dropout, lr_ratio;
};

class DeviceAdapter : public testing::TestWithParam<Variant> {
 protected:
  struct Curve {
    std::vector<double> losses;
    State weights;
  };

  static Curve run(c10::Device device, at::ScalarType dtype, const Policies& policies) {
    AdapterConfig adapter;
    adapter.kind = GetParam().kind;
    adapter.rank = 4;
    adapter.targets = {"all-linear"};
    adapter.dropout = GetParam().dropout;
    ModelConfig base;
    base.quantize = GetParam().quantize;
    base.double_quantization = GetParam().nested;
    auto llama = test::adapted("llama32_tiny", adapter, dtype, base, device);
    weights::start_adapter(*test::home_of(*llama), adapter, 7, {});
    for (weights::Weight& weight : llama->table().all())
      if (weight.name().find("lora_B") != std::string::npos)
        weight.lr_ratio = GetParam().lr_ratio;
    test::Trainer trainer(std::move(llama), test::trained_by(adapter), test::adamw(0.01),
                          policies);
    Curve found;
    for (int64_t i = 0; i < 6; ++i) {
      // Tokens are padded, as the program pads them for a GPU.
      auto parts = test::micro_batches(
          *trainer.llama, test::training_batches()[static_cast<size_t>(i)], 3, 64);
      test::number_tokens(parts, static_cast<uint32_t>(i));
      found.losses.push_back(trainer.update(parts, i).loss_sum);
    }
    found.weights = test::copy_of(trainer);
    return found;
  }
};

TEST_P(DeviceAdapter, FollowsTheCpu) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const Curve want = run(c10::kCPU, dtype, {});
    const test::DeviceScope scope;
    const Curve got = run(test::device(), dtype, {});
    const double tolerance = dtype == at::kFloat ? test::tolerance() : 0.01;
    for (size_t i = 0; i < want.losses.size(); ++i)
      EXPECT_NEAR(got.losses[i], want.losses[i], tolerance * want.losses[i]) << i;
    EXPECT_NE(want.losses[0], want.losses[5]);
  }
}

TEST_P(DeviceAdapter, PoliciesDoNotChangeABit) {
  const test::DeviceScope scope;
  Curve first;
  // A third of them, another one of each variant.
  const std::vector<Policies> all = test::every_policy(c10::kCUDA);
  for (size_t i = std::string(GetParam().name).size() % 3; i < all.size(); i += 3) {
    const Curve found = run(test::device(), at::kBFloat16, all[i]);
    if (first.losses.empty()) first = found;
    EXPECT_EQ(found.losses, first.losses);
    for (const auto& [name, weight] : found.weights)
      EXPECT_TRUE(at::equal(weight, first.weights.at(name))) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Device, DeviceAdapter,
    testing::Values(
        Variant{"lora", AdapterKind::kLora, QuantizeMode::kNone, false, 0, 1},
        Variant{"lora_plus", AdapterKind::kLora, QuantizeMode::kNone, false, 0, 2},
        Variant{"dropout", AdapterKind::kLora, QuantizeMode::kNone, false, 0.2, 1},
        Variant{"nf4", AdapterKind::kLora, QuantizeMode::kNf4, true, 0.1, 1},
        Variant{"nf4_plain", AdapterKind::kLora, QuantizeMode::kNf4, false, 0, 1},
        Variant{"dora_nf4", AdapterKind::kDora, QuantizeMode::kNf4, true, 0, 1},
        Variant{"dora_int8", AdapterKind::kDora, QuantizeMode::kInt8, false, 0.2, 1}),
    [](const auto& given) { return std::string(given.param.name); });

}  // namespace
}  // namespace lowmem::engine
