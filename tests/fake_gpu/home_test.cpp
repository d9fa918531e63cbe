// Weights and states that live in the host's memory or on the disk, over a GPU whose
// streams work as late as they may: what is changed on the device comes back changed.
#include "lowmem/weights/home.h"

#include <gmock/gmock.h>

#include <cstring>
#include <tuple>

#include "fake_gpu/libtorch.h"
#include "lowmem/weights/selection.h"

namespace lowmem::weights {
namespace {

constexpr size_t kBlocks = 7;

std::vector<Spec> specs() {
  std::vector<Spec> all = {{"model.embed_tokens.weight", {400, 64}}};
  for (size_t i = 0; i < kBlocks; ++i) {
    const std::string name = "model.layers." + std::to_string(i);
    all.push_back({name + ".norm.weight", {64}, Kind::kNorm, i + 1});
    all.push_back({name + ".mlp.weight", {96, 64}, Kind::kMatrix, i + 1});
  }
  all.push_back({"model.norm.weight", {64}, Kind::kNorm, kBlocks + 1});
  all.push_back({"lm_head.weight", {400, 64}, Kind::kMatrix, kBlocks + 1});
  return all;
}

// Of a weight after so many rounds, and of what is beside it.
at::Tensor numbers(const Weight& weight, int64_t round, int64_t beside = 0) {
  return (at::arange(weight.spec.elements(), at::kFloat) + 40000.0f * weight.index)
      .mul_(1 + round + 100 * beside)
      .view(weight.spec.shape);
}

void expect_bytes(Home& home, const Weight& weight, const std::string& state,
                  const at::Tensor& want) {
  const auto* bytes = static_cast<const std::byte*>(want.const_data_ptr());
  int64_t offset = 0;
  home.read(weight, state, [&](std::span<const std::byte> piece) {
    EXPECT_EQ(std::memcmp(bytes + offset, piece.data(), piece.size()), 0)
        << weight.name() << " " << state;
    offset += static_cast<int64_t>(piece.size());
  });
  EXPECT_EQ(offset, static_cast<int64_t>(want.nbytes())) << weight.name();
}

class HomeOnFakeGpu : public test::FakeGpuLibTorch,
                      public testing::WithParamInterface<
                          std::tuple<WeightsMode, StatesMode, int64_t, const char*>> {};

TEST_P(HomeOnFakeGpu, KeepsWhatChangesOnTheDevice) {
  constexpr int64_t kRounds = 3, kTogether = 64;  // rows, of 400
  const auto [where, states, ahead, trained] = GetParam();
  const c10::Device device(c10::kCUDA, 0);
  Table table(specs(), DType::kF32);
  select(table, {trained});
  const auto home = make_home({.weights = where,
                               .states = states,
                               .device = device,
                               .scratch = testing::TempDir(),
                               .ahead = ahead},
                              table);
  std::map<std::tuple<const Weight*, int64_t, int64_t>, at::Tensor> there;
  for (size_t group = 0; group < table.groups(); ++group) {
    const Lease lease = home->borrow(group, Access::kWrite);
    for (Weight* weight : table.group(group)) {
      const at::Tensor first = numbers(*weight, 0);
      home->write(*weight, [&](int64_t offset, std::span<std::byte> piece) {
        std::memcpy(piece.data(),
                    static_cast<const std::byte*>(first.const_data_ptr()) + offset,
                    piece.size());
      });
      for (int64_t round = 1; round <= kRounds; ++round)
        for (const int64_t beside : {0, 1})
          there[{weight, round, beside}] = numbers(*weight, round, beside).to(device);
    }
  }
  home->make_states([](const Weight& weight) {
    return std::vector<StateSpec>{{"mean", weight.spec.shape}};
  });

  // A step's way, whose updates are copies: of all kernels the fake does only these.
  for (int64_t round = 1; round <= kRounds; ++round) {
    for (size_t block = 1; block <= kBlocks; ++block) {
      const Lease lease = home->borrow(block, Access::kRead);
      for (size_t next = 1; next <= home->ahead() && block + next <= kBlocks; ++next)
        home->expect(block + next, Access::kRead);
    }
    for (size_t block = kBlocks; block > 0; --block) {
      const Lease lease = home->borrow(block, Access::kWrite);
      for (size_t next = 1; next <= home->ahead() && block > next; ++next)
        home->expect(block - next, Access::kWrite);
      for (Weight* weight : table.group(block)) {
        weight->here.copy_(there.at({weight, round, 0}));
        weight->beside.at("mean").copy_(there.at({weight, round, 1}));
      }
    }
    // Of the edges, by rows: looked at first, as most rules do.
    for (const size_t group : {kBlocks + 1, size_t{0}}) {
      const Lease lease = home->borrow(group, Access::kWrite);
      for (Weight* weight : table.group(group)) {
        if (!weight->trained) continue;
        const at::Tensor& now = there.at({weight, round, 0});
        const at::Tensor& beside = there.at({weight, round, 1});
        if (weight->spec.kind != Kind::kMatrix) {
          weight->here.copy_(now);
          weight->beside.at("mean").copy_(beside);
          continue;
        }
        at::Tensor seen = at::empty_like(now), seen_beside = at::empty_like(now);
        home->pass(*weight, kTogether, Access::kRead, [&](int64_t begin, int64_t end) {
          seen.slice(0, begin, end).copy_(weight->here.slice(0, begin, end));
        });
        home->pass(*weight, kTogether, Access::kWrite, [&](int64_t begin, int64_t end) {
          at::Tensor rows = weight->here.slice(0, begin, end);
          at::Tensor mean = weight->beside.at("mean").slice(0, begin, end);
          seen_beside.slice(0, begin, end).copy_(mean);
          rows.copy_(now.slice(0, begin, end));
          mean.copy_(beside.slice(0, begin, end));
        });
        EXPECT_TRUE(at::equal(seen.cpu(), numbers(*weight, round - 1)));
        if (round == 1) continue;  // the fake does not write zeros
        EXPECT_TRUE(at::equal(seen_beside.cpu(), numbers(*weight, round - 1, 1)));
      }
    }
  }

  for (size_t group = 0; group < table.groups(); ++group) {
    const Lease lease = home->borrow(group, Access::kReadAll);
    for (const Weight* weight : table.group(group)) {
      expect_bytes(*home, *weight, "", numbers(*weight, weight->trained ? kRounds : 0));
      if (weight->trained)
        expect_bytes(*home, *weight, "mean", numbers(*weight, kRounds, 1));
    }
  }
}

std::string name_of(const testing::TestParamInfo<HomeOnFakeGpu::ParamType>& given) {
  const auto [where, states, ahead, trained] = given.param;
  return std::string(word_of(where)) + "_" + std::string(word_of(states)) + "_" +
         std::to_string(ahead) + "_" + trained;
}

INSTANTIATE_TEST_SUITE_P(
    Homes, HomeOnFakeGpu,
    testing::Combine(testing::Values(WeightsMode::kResident, WeightsMode::kHost,
                                     WeightsMode::kDisk),
                     testing::Values(StatesMode::kWithWeights, StatesMode::kDevice,
                                     StatesMode::kHost, StatesMode::kDisk),
                     testing::Values(0, 1, 2), testing::Values("layers", "all")),
    name_of);

}  // namespace
}  // namespace lowmem::weights
